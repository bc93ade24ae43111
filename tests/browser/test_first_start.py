"""A Console that nobody has used yet: the login, the empty page, and enabling."""

import contextlib

import pytest

from tests.browser.conftest import Browser, Estate
from tests.contract.conftest import RunningConsole

pytestmark = pytest.mark.browser


def test_first_start_in_the_browser(console: RunningConsole, browser: Browser) -> None:
    """One story, in the order in which a new user meets it."""
    browser.call("open", url=console.url)
    browser.call("waitForText", text="Log in to cnnf")
    assert browser.call("path") == "/login"
    assert browser.call("audit") == []
    assert browser.call("problems") == [], "a first visit is no error"

    browser.call("logIn", user="admin", password="not the password")
    browser.call("waitForText", text="the user or the password is wrong")
    assert browser.call("path") == "/login"
    browser.call("problems")  # the browser logs the refusal itself

    browser.call("logIn", user="admin", password=console.password)
    browser.call("waitForText", text="No Defender has joined yet")
    browser.call("waitForText", text="make demo")
    banner = browser.call("bannerText")
    assert "Limited view" in banner
    assert browser.call("audit") == []

    with console.api() as api, contextlib.closing(Estate(api)):
        browser.call("waitForMap", nodes=5)

        browser.call("enable", part="containers")
        browser.call("waitForNoBanner")
        assert api.get("/settings")["containers"] is True
        assert api.get("/settings")["hosts"] is False
        browser.call("choose", name="Hosts")
        browser.call("waitForText", text="not enabled for hosts")
        assert "not enabled for hosts" in browser.call("bannerText")
        browser.call("enable", part="hosts")
        browser.call("waitForNoBanner")
        assert api.get("/settings")["hosts"] is True
    assert browser.call("problems") == []

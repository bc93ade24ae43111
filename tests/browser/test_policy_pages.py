"""Defend, Firewalls, CNNF in a real browser: rules, network objects, history, import and export."""

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Browser
from tests.contract.conftest import RunningConsole

pytestmark = pytest.mark.browser

HOME = "/defend/firewalls/cnnf"
#: Rules enough that most of them are not drawn.
MANY = 300

POLICY: dict[str, Any] = {
    "apiVersion": "cnnf/v1",
    "networkObjects": [
        {"name": "frontend", "type": "image", "values": ["shop/frontend:*"]},
        {"name": "payments", "type": "image", "values": ["shop/payments"]},
        {"name": "office", "type": "subnet", "values": ["10.0.0.0/8", "fd00::/8"]},
    ],
    "rules": {
        "containers": [
            {"name": "pay", "source": ["frontend"], "destination": ["payments"], "ports": [8084],
             "protocol": "tcp", "effect": "allow", "owner": "ann"},
            {"name": "pay twice", "source": ["frontend"], "destination": ["payments"],
             "ports": [8084], "protocol": "tcp", "effect": "prevent"},
            {"name": "office", "source": ["office"], "destination": ["frontend"],
             "effect": "alert"},
        ],
        "hosts": [],
    },
}  # fmt: skip


class Policy:
    """The Console's policy, changed beside the page: by somebody else."""

    def __init__(self, console: RunningConsole) -> None:
        self._http = console.raw()

    @property
    def head(self) -> dict[str, Any]:
        """The newest version without its contents."""
        found: list[dict[str, Any]] = self.get("/versions?count=1")
        return found[0]

    @property
    def whole(self) -> dict[str, Any]:
        """All of it."""
        found: dict[str, Any] = self.get("")
        return found

    @property
    def order(self) -> list[str]:
        """The names of the rules for containers."""
        return [rule["name"] for rule in self.whole["rules"]["containers"]]

    def get(self, path: str) -> Any:
        """What the Console answers."""
        answer = self._http.get(f"/api/v1/policy{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put(self, document: dict[str, Any], reason: str = "") -> None:
        """Replace it."""
        self.do("PUT", "", document, reason)

    def do(self, method: str, path: str, body: object = None, reason: str = "") -> None:
        """Change the version that is in force."""
        answer = self._http.request(
            method,
            f"/api/v1/policy{path}",
            json=body,
            params={"version": self.head["version"], "reason": reason},
        )
        assert answer.status_code == 200, answer.text

    def close(self) -> None:
        """Hang up."""
        self._http.close()


@pytest.fixture
def policy(console: RunningConsole, page: Browser) -> Iterator[Policy]:
    """The policy that every test begins with; the page's log is empty."""
    page.call("problems")
    held = Policy(console)
    held.put(POLICY)
    yield held
    page.call("systemTheme", scheme="dark")
    page.call("viewport", width=1440, height=900)
    held.close()


def show(console: RunningConsole, page: Browser, tab: str = "containers") -> None:
    """Open one of the tabs."""
    page.call("open", url=f"{console.url}{HOME}/{tab}")


def photograph(page: Browser, name: str) -> None:
    """Keep what is seen, where a person wants to look at it."""
    if place := os.environ.get("CNNF_SCREENSHOTS"):
        page.call("screenshot", path=f"{place}/policy-{name}.png")


def test_the_rail_leads_to_the_rules_which_say_what_was_found(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    page.call("open", url=f"{console.url}/radar")
    page.call("goTo", name="Firewalls")
    page.call("waitForRule", name="office")
    assert page.call("path") == f"{HOME}/containers"
    page.call("waitForRule", name="pay twice", text="never decides")
    pay, twice, _ = page.call("rules")
    assert (pay["source"], pay["destination"], pay["ports"]) == (
        "frontend", "payments", "8084 tcp",
    )  # fmt: skip
    assert (pay["effect"], pay["hits"], pay["last"]) == ("Allow", "0", "never")
    assert "pay before it" in twice["findings"][0]
    # The finding leads to the rule that causes it.
    page.call("pressButton", name="show pay")
    page.call("waitForMarked", id="rules")
    marked = [rule["name"] for rule in page.call("rules") if rule["marked"]]
    assert marked == ["pay"]
    for short in ("/defend", "/defend/firewalls", "/policy"):
        page.call("open", url=console.url + short)
        page.call("waitForRule", name="pay")
        assert page.call("path") == f"{HOME}/containers"
    assert page.call("problems") == []


def test_an_object_and_a_rule_are_added(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    show(console, page, "objects")
    page.call("waitForObject", name="office")
    assert page.call("objects")["frontend"] == ["App", "shop/frontend:*", "", "3 rules"]
    page.call("pressButton", name="Add object")
    page.call("pressInDialog", name="Add object")
    assert "Give the object a name." in page.call("dialogText")
    page.call("fill", fields={"Name": "partners", "Values": ["203.0.113.0/24", "2001:db8::/32"]})
    page.call("pressInDialog", name="Add object")
    page.call("waitForObject", name="partners")
    show(console, page)
    page.call("waitForRule", name="pay")
    page.call("pressButton", name="Add rule")
    page.call(
        "fill",
        fields={
            "Name": "partners pay",
            "Source": ["partners", "198.51.100.7"],
            "Destination": ["payments"],
            "Ports": ["443", "8000-8100"],
            "Owner": "bob",
            "Reason for the change": "the contract",
        },
    )
    page.call("chooseInDialog", name="Allow")
    # What was typed in place becomes an object.
    assert "New object 198.51.100.7" in page.call("dialogText")
    page.call("pressInDialog", name="Check")
    outcome = page.call("waitForMarked", id="outcome")
    assert "network object 198.51.100.7 added" in outcome
    assert "rule for containers partners pay added, after office" in outcome
    assert page.call("audit") == []
    photograph(page, "rule")
    page.call("pressInDialog", name="Add rule")
    page.call("waitForNoDialog")
    page.call("waitForRule", name="partners pay", text="198.51.100.7")
    assert policy.whole["rules"]["containers"][-1] == {
        "name": "partners pay",
        "effect": "allow",
        "source": ["partners", "198.51.100.7"],
        "destination": ["payments"],
        "ports": [443, "8000-8100"],
        "owner": "bob",
    }
    assert policy.head["reason"] == "the contract"
    assert page.call("problems") == []


def test_a_refused_rule_says_why_and_keeps_what_was_typed(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    show(console, page)
    page.call("waitForRule", name="pay")
    version = policy.head["version"]
    page.call("openRule", name="pay twice")
    page.call("fill", fields={"Name": "pay"})
    page.call("pressInDialog", name="Save")
    assert "there is a rule called 'pay' already" in page.call("waitForMarked", id="refusal")
    assert page.call("fieldValue", label="Name") == "pay"
    assert policy.head["version"] == version


def test_order_by_keyboard_and_by_dragging(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    show(console, page)
    page.call("waitForOrder", names=["pay", "pay twice", "office"])
    page.call("focusHandle", name="office")
    page.call("press", keys=["Space"])
    assert "lifted from position 3 of 3" in page.call("marked", id="spoken")
    page.call("press", keys=["ArrowUp", "ArrowUp"])
    page.call("waitForOrder", names=["office", "pay", "pay twice"])
    # Nothing has happened yet, and can be taken back.
    assert policy.order == ["pay", "pay twice", "office"]
    page.call("press", keys=["Escape"])
    page.call("waitForOrder", names=["pay", "pay twice", "office"])
    page.call("press", keys=["Space", "Home", "Space"])
    page.call("waitForMarked", id="in-force", text="moved rule office")
    assert policy.order == ["office", "pay", "pay twice"]
    assert page.call("focusedControl") == {"rule": "office", "control": "handle"}
    page.call("dragRule", name="office", onto="pay")
    page.call("waitForOrder", names=["pay", "office", "pay twice"])
    page.call("waitForMarked", id="in-force", text=f"Version {policy.head['version']}")
    assert policy.order == ["pay", "office", "pay twice"]
    assert policy.head["kind"] == "order"
    assert page.call("problems") == []


def test_rules_are_switched_moved_far_and_deleted(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    show(console, page)
    page.call("waitForRule", name="pay")
    page.call("switchRule", name="pay")
    page.call("waitForMarked", id="in-force", text="pay")
    assert policy.whole["rules"]["containers"][0]["enabled"] is False
    page.call("fromMenu", name="pay", item="Move to…")
    page.call("fill", fields={"Position": "3"})
    page.call("pressInDialog", name="Move")
    page.call("waitForOrder", names=["pay twice", "office", "pay"])
    page.call("waitForMarked", id="in-force", text="moved rule pay")
    page.call("fromMenu", name="pay twice", item="Delete")
    page.call("fill", fields={"Reason": "never decided"})
    page.call("pressInDialog", name="Delete")
    page.call("waitForNoDialog")
    page.call("waitForOrder", names=["office", "pay"])
    assert policy.order == ["office", "pay"]
    assert policy.head["reason"] == "never decided"
    assert page.call("problems") == []


def test_who_was_faster_is_told_and_nothing_typed_is_lost(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    show(console, page)
    page.call("waitForRule", name="pay")
    page.call("openRule", name="pay")
    page.call("fill", fields={"Note": "agreed in March"})
    policy.do("DELETE", "/rules/pay%20twice", reason="tidied up")
    policy.do("POST", "/rules/enable", {"rules": ["pay"], "enabled": False})
    page.call("pressInDialog", name="Save")
    told = page.call("waitForMarked", id="conflict", text="tidied up")
    assert "token:command line" in told
    assert "rule pay twice (tidied up)" in told
    assert page.call("audit") == []
    photograph(page, "conflict")
    page.call("pressInDialog", name="Reload, and keep what I wrote")
    page.call("waitForText", text="itself was changed meanwhile")
    assert page.call("fieldValue", label="Note") == "agreed in March"
    page.call("pressInDialog", name="Save")
    page.call("waitForNoDialog")
    page.call("waitForRule", name="pay", text="agreed in March")
    assert policy.order == ["pay", "office"]
    problems = page.call("problems")
    assert all("409" in problem for problem in problems), "the browser logs the refusal itself"


def test_objects_are_renamed_in_rules_and_deleted_after_a_look(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    show(console, page, "objects")
    page.call("openObject", name="frontend")
    page.call("fill", fields={"Name": "storefront"})
    page.call("pressInDialog", name="Save")
    page.call("waitForNoDialog")
    page.call("waitForObject", name="storefront")
    assert policy.whole["rules"]["containers"][0]["source"] == ["storefront"]
    page.call("fromMenu", name="storefront", item="Delete")
    outcome = page.call("waitForMarked", id="outcome")
    assert "rule for containers pay removed" in outcome
    assert "rule for containers office removed" in outcome
    assert page.call("audit") == []
    photograph(page, "delete-object")
    page.call("pressInDialog", name="Delete, and change the rules")
    page.call("waitForNoDialog")
    page.call("waitForObject", name="payments")
    assert "storefront" not in page.call("objects")
    assert policy.order == []
    assert page.call("problems") == []


def test_history_shows_compares_and_goes_back(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    old = policy.head["version"]
    policy.do("DELETE", "/rules/pay%20twice", reason="tidied up")
    show(console, page, "history")
    page.call("chooseVersion", version=old + 1)
    shown = page.call("marked", id="version")
    assert "tidied up" in shown
    assert "rule for containers pay twice removed" in shown
    entry = page.call("marked", id="versions").split("\n")
    assert entry[:2] == [f"Version {old + 1:,}", "in force"]
    assert page.call("buttons", name="Go back to this") == 0
    page.call("chooseVersion", version=old)
    page.call("choose", name="Since then")
    page.call("waitForText", text=f"From version {old} to {old + 1}: 1 change")
    assert page.call("audit") == []
    page.call("pressButton", name="Go back to this")
    assert "pay twice added, after pay" in page.call("waitForMarked", id="outcome")
    page.call("fill", fields={"Reason": "it was needed"})
    photograph(page, "rollback")
    page.call("pressInDialog", name="Go back")
    page.call("waitForNoDialog")
    page.call("waitForMarked", id="in-force", text=f"back to version {old}")
    assert policy.order == ["pay", "pay twice", "office"]
    assert policy.head["reason"] == "it was needed"
    assert "of 2 Defenders" in page.call("marked", id="enforced")
    assert page.call("problems") == []


def test_a_file_is_previewed_before_it_is_in_force(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    show(console, page, "transfer")
    page.call("typePolicy", text="apiVersion: cnnf/v1\nrules:\n  containers:\n    - {name: x}\n")
    page.call("pressButton", name="Preview")
    assert "policy:4:7: a rule without effect" in page.call("waitForMarked", id="refusal")
    assert all("400" in problem for problem in page.call("problems"))
    version = policy.head["version"]
    page.call(
        "typePolicy",
        text="apiVersion: cnnf/v1\nnetworkObjects:\n"
        "  - {name: frontend, type: image, values: ['shop/frontend:*']}\nrules:\n  containers:\n"
        "    - {name: pay, source: [frontend], ports: [1], effect: alert}\n",
    )
    page.call("pressButton", name="Preview")
    outcome = page.call("waitForMarked", id="outcome")
    assert "rule for containers pay: " in outcome
    assert policy.head["version"] == version
    photograph(page, "import")
    assert page.call("audit") == []
    page.call("pressButton", name="Apply")
    page.call("waitForText", text=f"Version {version + 1} is in force.")
    assert policy.order == ["pay", "pay twice", "office"]
    text = page.call("downloaded", name="Download")
    assert "name: pay, source: [frontend], ports: [1], effect: alert" in text
    page.call("choose", name="Replace")
    page.call("typePolicy", text=text.replace("effect: alert", "effect: prevent"))
    page.call("pressButton", name="Preview")
    assert "pay: effect changed" in page.call("waitForMarked", id="outcome")
    assert page.call("problems") == []


def test_from_radar_to_a_rule_and_to_quarantine(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    page.call("open", url=f"{console.url}/radar?view=containers&window=1h&show=all&as=table")
    page.call("expand", name="shop/orders")
    page.call("waitForRow", name="shop/payments", level=2)
    page.call("clickRow", name="shop/payments", level=2)
    assert "Make a rule" in page.call("panelText")
    page.call("pressButton", name="Prevent")
    page.call("waitForText", text="Made of what was seen")
    assert page.call("fieldValue", label="Name") == "shop/orders to shop/payments"
    page.call("pressInDialog", name="What would this do?")
    newly = page.call("waitForMarked", id="what-if", text="Newly prevented: 1 flow")
    assert "shop/orders → shop/payments, 8084" in newly
    assert page.call("audit") == []
    photograph(page, "from-radar")
    page.call("pressInDialog", name="Add rule")
    page.call("waitForNoDialog")
    made = policy.whole["rules"]["containers"][-1]
    assert (made["source"], made["destination"], made["effect"]) == (
        ["shop/orders"], ["payments"], "prevent",
    )  # fmt: skip
    assert (made["ports"], made["protocol"]) == ([8084], "tcp")
    page.call("clickRow", name="shop/cache")
    page.call("pressButton", name="Quarantine shop/cache")
    page.call("waitForMarked", id="outcome", text="quarantine:shop/cache in")
    page.call("fill", fields={"Reason": "odd traffic"})
    photograph(page, "quarantine")
    page.call("pressInDialog", name="Quarantine")
    page.call("waitForNoDialog")
    page.call("waitForMarked", id="quarantine", text="Quarantined")
    assert policy.order[:2] == ["quarantine:shop/cache out", "quarantine:shop/cache in"]
    page.call("pressButton", name="Release shop/cache")
    page.call("waitForMarked", id="outcome", text="removed")
    page.call("pressInDialog", name="Release")
    page.call("waitForNoDialog")
    assert "quarantine:shop/cache in" not in policy.order
    assert page.call("problems") == []


def test_an_event_leads_to_its_rule(console: RunningConsole, page: Browser, policy: Policy) -> None:
    document = {**POLICY, "rules": {"containers": [], "hosts": [
        {"name": "mail", "destination": ["office"], "ports": [25], "effect": "alert"},
    ]}}  # fmt: skip
    policy.put(document)
    page.call("open", url=f"{console.url}/monitor/events/cnnf")
    page.call("waitForEvent", texts=["shop/orders", "rule mail"])
    page.call("clickText", text="rule mail")
    # It is in the other list, which is found.
    page.call("waitForRule", name="mail")
    assert page.call("path") == f"{HOME}/hosts"
    assert [rule["name"] for rule in page.call("rules") if rule["marked"]] == ["mail"]
    page.call("open", url=f"{console.url}{HOME}/containers?rule=gone")
    page.call("waitForText", text="There is no rule called “gone” now.")


def test_viewers_see_all_and_change_nothing(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    def role(name: str) -> None:
        with sqlite3.connect(console.data_dir / "cnnf.db", timeout=10) as database:
            done = database.execute("UPDATE users SET role = ? WHERE name = 'admin'", (name,))
            assert done.rowcount == 1
        database.close()

    role("viewer")
    try:
        show(console, page)
        page.call("waitForRule", name="pay")
        for name in ("Add rule", "Actions for", "Move pay"):
            assert page.call("buttons", name=name) == 0, name
        page.call("openRule", name="pay")
        assert "Your role can look" in page.call("dialogText")
        assert page.call("audit") == []
        page.call("press", keys=["Escape"])
        page.call("waitForNoDialog")
        show(console, page, "objects")
        page.call("waitForObject", name="office")
        assert page.call("buttons", name="Add object") == 0
        show(console, page, "history")
        page.call("chooseVersion", version=1)
        assert page.call("buttons", name="Go back to this") == 0
        show(console, page, "transfer")
        page.call("waitForText", text="Your role can look")
        assert "apiVersion: cnnf/v1" in page.call("downloaded", name="Download")
        assert page.call("problems") == []
    finally:
        role("admin")


def test_many_rules_stay_usable(console: RunningConsole, page: Browser, policy: Policy) -> None:
    rules = [
        {"name": f"rule {n:03}", "source": ["office"], "destination": ["payments"],
         "ports": [n + 1], "effect": "alert"}
        for n in range(MANY)
    ]  # fmt: skip
    policy.put({**POLICY, "rules": {"containers": rules, "hosts": []}})
    show(console, page)
    page.call("waitForRule", name="rule 000")
    assert len(page.call("rules")) < MANY // 3, "only those in sight are drawn"
    page.call("focusHandle", name="rule 000")
    page.call("press", keys=["End"])
    page.call("waitForRule", name=f"rule {MANY - 1}")
    page.call("press", keys=["Space", "Home", "Space"])
    page.call("waitForMarked", id="in-force", text=f"moved rule rule {MANY - 1}")
    assert policy.order[0] == f"rule {MANY - 1}"
    assert page.call("focusedControl") == {"rule": f"rule {MANY - 1}", "control": "handle"}
    photograph(page, "many")
    page.call("open", url=f"{console.url}{HOME}/containers?rule=rule+150")
    page.call("waitForRule", name="rule 150")
    assert page.call("focusedControl")["rule"] == "rule 150"
    assert page.call("problems") == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("tab", ["containers", "hosts", "objects", "history", "transfer"])
def test_axe_finds_nothing_serious(
    console: RunningConsole, page: Browser, policy: Policy, tab: str, scheme: str
) -> None:
    page.call("systemTheme", scheme=scheme)
    show(console, page, tab)
    page.call("waitForText", text="Rules for containers")
    page.call("waitForMarked", id="in-force")
    assert page.call("audit") == []
    photograph(page, f"{tab}-{scheme}")


@pytest.mark.parametrize("tab", ["containers", "objects", "history", "transfer"])
def test_fits_a_telephone(console: RunningConsole, page: Browser, policy: Policy, tab: str) -> None:
    page.call("viewport", width=390, height=844)
    show(console, page, tab)
    page.call("waitForMarked", id="in-force")
    assert page.call("sidewaysOverflow") <= 0
    photograph(page, f"{tab}-narrow")

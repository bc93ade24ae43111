"""Joining a Console from another host: over real TLS, with everything that can be wrong with it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pysqlite3
import pytest

from cnnf.cli.client import Client
from cnnf.console.authority import Authority
from cnnf.console.core import windows
from cnnf.defender.link.credentials import Credentials, Identity
from cnnf.defender.link.errors import CredentialsBroken, EnrolmentFailed
from cnnf.defender.link.joining import fingerprint_in, join
from tests.contract.conftest import ENVIRONMENT, RunningConsole, free_port
from tests.contract.impostor import impostor
from tests.contract.joined import new_request

AUTHORITY = "/api/v1/defenders/authority"
ENROL = "/api/v1/defenders/enrol"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """A Console that other hosts reach: HTTPS, known as 127.0.0.1 and localhost."""
    listen = f"0.0.0.0:{free_port()}"
    running = RunningConsole(
        tmp_path_factory.mktemp("console") / "data", "--listen", listen, "--advertise", "127.0.0.1"
    )
    yield running
    running.stop()


@pytest.fixture
def token(api: Client) -> Any:
    """A new token, and where to use it."""
    return api.post("/defenders/tokens")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cnnf", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**ENVIRONMENT, **environment},
        check=False,
    )


def test_a_host_joins_by_command_and_is_seen_and_removed(
    console: RunningConsole, api: Client, tmp_path: Path
) -> None:
    here = ["--data-dir", str(console.data_dir)]
    made = json.loads(run("defenders", "token", "--json", "--expires", "5m", *here).stdout)
    left = windows.parse_time(made["expires_at"], "") - time.time() * 1000
    assert 200_000 < left <= 300_000
    file = tmp_path / "token"
    file.write_text(made["token"] + "\n")
    directory = tmp_path / "defender"
    common = ["defender", "join", made["console"], "--directory", str(directory)]
    done = run(*common, "--token-file", str(file), "--host-name", "far-1")
    assert done.returncode == 0, done.stderr
    assert (directory / "identity.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in directory.iterdir()] == ["identity.json"]
    identity = Credentials(directory).identity()
    assert identity.url == made["url"]

    again = run(*common, CNNF_JOIN_TOKEN=made["token"])
    assert again.returncode == 1
    assert f"has joined {identity.url} already, as {identity.defender}" in again.stderr
    assert "--again" in again.stderr
    used = run(*common, "--again", CNNF_JOIN_TOKEN=made["token"])
    assert used.returncode == 1
    assert "unknown, used or expired" in used.stderr
    assert Credentials(directory).identity() == identity

    listed = run("defenders", "list", *here).stdout
    assert "far-1" in listed
    assert "never heard" in listed
    shown = json.loads(run("defenders", "show", "far-1", "--json", *here).stdout)
    assert shown["id"] == identity.defender
    assert shown["expires_at"] == windows.text(int(identity.valid()[1].timestamp() * 1000))
    removed = run("defenders", "remove", "far-1", *here)
    assert removed.returncode == 0, removed.stderr
    assert run("defenders", "remove", "far-1", *here).returncode == 1
    assert identity.defender not in {one["id"] for one in api.get("/defenders")}
    audit = [(entry["action"], entry["subject"]) for entry in api.get("/audit")]
    assert ("defender.remove", identity.defender) in audit


def test_joining_again_makes_another_identity(
    console: RunningConsole, api: Client, tmp_path: Path
) -> None:
    credentials = Credentials(tmp_path)
    first = join(api.url, api.post("/defenders/tokens")["token"], "twice")
    credentials.keep(first)
    (tmp_path / "settings.json").write_text('{"generation": 99}')
    done = run(
        *("defender", "join", api.url, "--directory", str(tmp_path), "--again"),
        CNNF_JOIN_TOKEN=api.post("/defenders/tokens")["token"],
    )
    assert done.returncode == 0, done.stderr
    second = credentials.identity()
    assert second.defender != first.defender
    assert second.key != first.key
    # Another Console would count its generations anew.
    assert credentials.settings() is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no join token"),
        (["--token-file", "/nowhere"], "No such file"),
        (["--token-file", "/dev/null", "--token", "x"], "one is enough"),
    ],
)
def test_no_token_is_wrong_usage(arguments: list[str], said: str, tmp_path: Path) -> None:
    where = ["--directory", str(tmp_path / "new")]
    done = run("defender", "join", "https://127.0.0.1:1", *where, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def test_an_expired_token_is_refused(console: RunningConsole, token: Any) -> None:
    with pysqlite3.connect(console.data_dir / "cnnf.db", timeout=10) as database:
        database.execute("UPDATE join_tokens SET expires_at = 1")
    with pytest.raises(EnrolmentFailed, match="unknown, used or expired") as told:
        join(token["console"], token["token"], "late")
    assert "cnnf defenders token" in told.value.hint


def test_a_token_for_another_authority_is_never_sent(token: Any) -> None:
    forged = token["token"][:-64] + "0" * 64
    with pytest.raises(EnrolmentFailed, match="the token was not sent"):
        join(token["console"], forged, "host")
    # So it is still good.
    assert join(token["console"], token["token"], "host").defender


@pytest.mark.parametrize(
    "text", ["", "x", "cnnf-join", "cnnf-join..", "cnnf-join.a.b", "cnnf-join.a." + "G" * 64]
)
def test_what_is_no_token_is_said_so(text: str) -> None:
    with pytest.raises(EnrolmentFailed, match="this is no join token"):
        fingerprint_in(text)


@pytest.mark.parametrize(
    "url",
    ["", "console:8083", "https://", "ftp://h:1", "https://h:x", "https://h:1/api", "https://[::1"],
)
def test_what_is_no_address_is_said_so(url: str) -> None:
    with pytest.raises(EnrolmentFailed, match="no Console's address"):
        join(url, "cnnf-join.a." + "0" * 64, "host")


def test_a_token_crosses_a_network_by_https_only() -> None:
    with pytest.raises(EnrolmentFailed, match="by HTTPS only"):
        join("http://192.0.2.1:8083", "cnnf-join.a." + "0" * 64, "host")


def test_nobody_there_is_said_so() -> None:
    with pytest.raises(EnrolmentFailed, match="Connection refused"):
        join(f"https://127.0.0.1:{free_port()}", "cnnf-join.a." + "0" * 64, "host")


def test_the_wrong_listener_is_said_so(console: RunningConsole, token: Any) -> None:
    with pytest.raises(EnrolmentFailed, match=r"TLS|disconnected|Disconnected") as told:
        join(token["url"], token["token"], "host")
    assert "--listen" in told.value.hint


def test_a_name_the_certificate_lacks_is_said_so(token: Any) -> None:
    url = token["console"].replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(EnrolmentFailed, match="for other names") as told:
        join(url, token["token"], "host")
    assert "--advertise" in told.value.hint


def test_a_directory_that_takes_nothing_does_not_use_the_token_up(
    token: Any, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    done = run(
        *("defender", "join", token["console"], "--directory", str(tmp_path / "taken")),
        CNNF_JOIN_TOKEN=token["token"],
    )
    assert done.returncode == 1
    assert "not joined" in done.stderr
    assert join(token["console"], token["token"], "host").defender


# --- whoever answers in a Console's place


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[Authority]:
    """Two authorities."""
    return [Authority(tmp_path_factory.mktemp("authority") / "tls") for _ in range(2)]


def pinned(authority: Authority) -> str:
    """A token that names this authority."""
    return f"cnnf-join.secret.{authority.fingerprint}"


def shown(authority: Authority) -> bytes:
    """What a Console shows of it."""
    return json.dumps({"authority": authority.pem}).encode()


@pytest.mark.parametrize("hours", [-30, 30])
def test_clocks_apart_are_told_before_the_token_is_sent(
    authorities: list[Authority], hours: int
) -> None:
    date = formatdate(time.time() + hours * 3600, usegmt=True)
    with impostor(lambda *_: (200, {"date": date}, shown(authorities[0]))) as other:
        with pytest.raises(EnrolmentFailed, match=r"clock is 30\.0 hours") as told:
            join(other.url, pinned(authorities[0]), "host")
        assert ("behind" in str(told.value)) == (hours > 0)
        assert [path for _, path, _ in other.asked] == [AUTHORITY]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"\xff", b'{"authority": "x"}', b'{"authority": 1}', b"[" * 60_000, b"x" * 70_000],
)
def test_no_authority_no_token(authorities: list[Authority], body: bytes) -> None:
    with impostor(lambda *_: (200, {}, body)) as other:
        with pytest.raises(EnrolmentFailed, match=r"no authority|too long"):
            join(other.url, pinned(authorities[0]), "host")
        assert [path for _, path, _ in other.asked] == [AUTHORITY]


def enrolled(authority: Authority, body: bytes, **changes: str) -> bytes:
    """A Console's answer to the request, with something else in it."""
    request = msgspec.json.decode(body)["request"]
    name = changes.pop("name", "d" * 32)
    good = {
        "defender": "d" * 32,
        "certificate": authority.sign(request, name).pem,
        "authority": authority.pem,
        "url": "https://192.0.2.1:8084",
    }
    return json.dumps(good | changes).encode()


def test_what_is_no_certificate_of_ours_is_not_kept(authorities: list[Authority]) -> None:
    authority, foreign = authorities
    _, others_request = new_request()
    wrong = {
        "another authority's": lambda body: enrolled(foreign, body),
        "for another key": lambda body: enrolled(
            authority, body, certificate=authority.sign(others_request, "d" * 32).pem
        ),
        "another Defender's": lambda body: enrolled(authority, body, name="e" * 32),
        "a path for a name": lambda body: enrolled(
            authority, body, name="../../etc", defender="../../etc"
        ),
        "nothing": lambda body: enrolled(authority, body, certificate=""),
        "in the clear": lambda body: enrolled(authority, body, url="http://192.0.2.1"),
        "no JSON": lambda _: b"\0",
    }
    for what, reply in wrong.items():

        def answer(method: str, path: str, body: bytes, reply: Any = reply) -> Any:
            return 200, {}, shown(authority) if path == AUTHORITY else reply(body)

        with impostor(answer) as other:
            with pytest.raises(EnrolmentFailed, match=r"can't be used|not HTTPS"):
                join(other.url, pinned(authority), "host")
            assert [path for _, path, _ in other.asked] == [AUTHORITY, ENROL], what


def test_a_good_answer_is_taken(authorities: list[Authority]) -> None:
    def answer(method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        good = shown(authorities[0]) if path == AUTHORITY else enrolled(authorities[0], body)
        return 200, {}, good

    with impostor(answer) as other:
        assert join(other.url, pinned(authorities[0]), "host").defender == "d" * 32


# --- the files


def test_an_identity_of_before_is_read_and_moved(
    console: RunningConsole, token: Any, tmp_path: Path
) -> None:
    identity = join(token["console"], token["token"], "old")
    (tmp_path / "key.pem").write_text(identity.key)
    (tmp_path / "certificate.pem").write_text(identity.certificate)
    (tmp_path / "authority.pem").write_text(identity.authority)
    link = {"defender": identity.defender, "url": identity.url}
    (tmp_path / "link.json").write_text(json.dumps(link))
    credentials = Credentials(tmp_path)
    assert credentials.enrolled
    assert credentials.identity() == identity
    credentials.keep(identity)
    assert [path.name for path in tmp_path.iterdir()] == ["identity.json"]
    assert credentials.identity() == identity


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\0", b"x" * 100_000, os.urandom(500)])
def test_a_damaged_identity_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(CredentialsBroken, match=r"identity\.json"):
        Credentials(tmp_path).identity()


def test_no_identity_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CredentialsBroken, match="cnnf defender join"):
        Credentials(tmp_path).identity()


def test_a_reader_never_sees_half_an_identity(tmp_path: Path) -> None:
    def named(text: str) -> Identity:
        return Identity(defender=text, url=text, key=text, certificate=text, authority=text)

    credentials = Credentials(tmp_path)
    credentials.keep(named("a" * 10_000))
    (tmp_path / "identity.json.new").write_bytes(b"half of what a killed process wrote")
    credentials.keep(named("b" * 10_000))
    assert credentials.identity() == named("b" * 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["identity.json"]


def test_up_joins_once_follows_its_console_and_joins_again_when_removed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from cnnf.cli.up import _enrol

    data = tmp_path_factory.mktemp("up") / "data"
    credentials = Credentials(tmp_path)
    first = RunningConsole(data)
    with first.api() as api:
        _enrol(api, data, tmp_path, "here")
        joined = credentials.identity()
        _enrol(api, data, tmp_path, "here")
        assert credentials.identity() == joined
    first.stop()
    # On another port this time, as `--defender-listen` may say.
    second = RunningConsole(data)
    try:
        with second.api() as api:
            _enrol(api, data, tmp_path, "here")
            moved = credentials.identity()
            assert moved.url != joined.url
            assert moved == msgspec.structs.replace(joined, url=moved.url)
            assert moved.url == api.post("/defenders/tokens")["url"]
            api.request("DELETE", f"/defenders/{joined.defender}")
            _enrol(api, data, tmp_path, "here")
            assert credentials.identity().defender != joined.defender
    finally:
        second.stop()

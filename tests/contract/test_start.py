"""Starting and stopping the Console: what it refuses, what it leaves, what it prints."""

import os
import socket
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from cnnf.cli.client import Client
from cnnf.cli.failure import Failure
from cnnf.console.limits import STOP_S
from tests.contract.conftest import RunningConsole, command, free_port, refused


def ports() -> list[str]:
    return [
        "--listen", f"127.0.0.1:{free_port()}", "--defender-listen", f"127.0.0.1:{free_port()}"
    ]  # fmt: skip


def test_an_occupied_port_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for option in ("--listen", "--defender-listen"):
            other = "--defender-listen" if option == "--listen" else "--listen"
            ended = refused(tmp_path / "data", option, address, other, "127.0.0.1:0")
            assert ended.returncode == 1
            assert f"cnnf: {address} is in use by another program" in ended.stderr
            assert option in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "thesis.txt").write_text("mine")
    ended = refused(data, *ports())
    assert ended.returncode == 1
    assert "holds files that are not cnnf's" in ended.stderr
    assert [p.name for p in data.iterdir()] == ["thesis.txt"]
    assert stat.S_IMODE(data.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"program": "cnnf", "format": 99}', "written by a newer cnnf"),
        ('{"program": "other", "format": 1}', "not cnnf's"),
        ("garbage", "not cnnf's"),
    ],
)
def test_a_marker_that_is_not_ours(tmp_path: Path, marker: str, message: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "cnnf.json").write_text(marker)
    ended = refused(data, *ports())
    assert (ended.returncode, message in ended.stderr) == (1, True), ended.stderr
    assert [p.name for p in data.iterdir()] == ["cnnf.json"]


def test_what_is_no_writable_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for data, message in ((file, "not a directory"), (file / "below", "not writable"),
                          (Path("/proc/cnnf"), "data directory /proc/cnnf")):  # fmt: skip
        ended = refused(data, *ports())
        assert ended.returncode == 1
        assert message in ended.stderr, ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_somebody_elses_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    script = (
        "import os, sys; from cnnf.console.data_directory import DataDirectory as D; "
        "from cnnf.console.errors import CannotStart; from pathlib import Path; os.setuid(65534)\n"
        "try: D(Path(sys.argv[1])).inspect()\n"
        "except CannotStart as e: print(e)"
    )
    import sys

    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "not writable" in ended.stdout, ended


@pytest.mark.parametrize(
    "address", ["8083", "127.0.0.1", "127.0.0.1:99999", "example.org:80", "127.0.0.1:-1", "::1:x"]
)
def test_an_address_that_is_none(tmp_path: Path, address: str) -> None:
    ended = refused(tmp_path / "data", "--listen", address)
    assert ended.returncode == 1
    assert "not an address and a port" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_wrong_flag(tmp_path: Path) -> None:
    ended = refused(tmp_path / "data", "--listne", "127.0.0.1:1")
    assert ended.returncode == 2
    assert "--listne" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_first_start_second_start_and_stop(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = RunningConsole(data)
    with httpx.Client(trust_env=False) as http:
        assert http.get(f"{first.url}/healthz").status_code == 200
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for path in data.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert first.url in first.out.read_text()
    assert first.password
    assert "Console ready" in first.log.read_text()

    rival = refused(data, *ports())
    assert rival.returncode == 1
    assert f"in use by another Console (process {first.process.pid}" in rival.stderr

    # Streams that are open must not hold up the end, but for a second; a busy machine takes more.
    with first.raw() as http, http.stream("GET", "/api/v1/radar/stream") as answer:
        next(answer.iter_raw())
        assert first.stop() < STOP_S + 4
    assert first.process.returncode == 0
    assert not (data / "console.json").exists()
    with pytest.raises(Failure, match="no Console runs"):
        Client(data)

    second = RunningConsole(data)
    try:
        assert "Password" not in second.out.read_text()
        with second.api() as api:
            assert api.get("/session") == {"user": "token:command line", "role": "admin"}
        new = subprocess.run(
            [*command(data), "reset-password"], capture_output=True, text=True, check=True
        )
        password = new.stdout.partition("Password: ")[2].split()[0]
        with second.raw(token=False) as http:
            login = {"username": "admin", "password": password}
            assert http.post("/api/v1/session", json=login).status_code == 200
    finally:
        second.stop()


def test_reset_password_needs_a_console_to_have_run(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*command(tmp_path / "data"), "reset-password"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "no Console has ever run here" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_beyond_loopback_only_https_is_spoken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    port = free_port()
    running = RunningConsole(data, "--listen", f"0.0.0.0:{port}", "--advertise", "localhost")
    try:
        assert f"https://localhost:{port}" in running.out.read_text()
        with running.api() as api:
            assert api.url == f"https://localhost:{port}"
            assert api.get("/session")["role"] == "admin"
        with pytest.raises(httpx.HTTPError), httpx.Client(trust_env=False) as http:
            http.get(f"http://127.0.0.1:{port}/healthz")
    finally:
        running.stop()


def test_a_broken_database_is_said_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    RunningConsole(data).stop()
    (data / "cnnf.db").write_bytes(b"this is no database" * 500)
    for extra in ("cnnf.db-wal", "cnnf.db-shm"):
        (data / extra).unlink(missing_ok=True)
    ended = refused(data, *ports())
    assert ended.returncode == 1
    assert "the database cannot be opened" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    import pysqlite3

    data = tmp_path / "data"
    RunningConsole(data).stop()
    connection = pysqlite3.connect(str(data / "cnnf.db"))
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    ended = refused(data, *ports())
    assert ended.returncode == 1
    assert "written by a newer cnnf" in ended.stderr

"""What `cnnf up` is given wrongly, or does not find: a clear message, and nothing left behind."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.conftest import wait_until_clean
from tests.lab import netns
from tests.lab.netns import Namespace
from tests.lab.product import CNNF, Product, eventually

pytestmark = pytest.mark.kernel


@pytest.fixture
def here() -> Iterator[Namespace]:
    """A host with nothing but loopback; whatever a test does, nothing is left in it."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with netns.namespaces() as (namespace,):
        yield namespace
        wait_until_clean(namespace)
        assert namespace.processes() == []


def refused(
    here: Namespace, data: Path, *options: str, within: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Exit code and standard error of a start that must not succeed."""
    done = subprocess.run(
        here.command(*within, *CNNF, "up", "--enable", "--data-dir", str(data), *options),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--mark-mask", "0x3c01"), "0x3c00"),
        (("--mark-mask", "many"), "0x3c00"),
        (("--container-network", "10.1.0.0/99"), "10.1.0.0/24"),
        (("--queue", "-1"), "--queue"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_wrong_flags(here: Namespace, tmp_path: Path, options: tuple[str, ...], word: str) -> None:
    code, said = refused(here, tmp_path / "data", *options)
    assert code == 2
    assert word in said
    assert not (tmp_path / "data").exists()


def test_without_root(here: Namespace, tmp_path: Path) -> None:
    # Nobody within a user namespace of its own, who can still read the program's files.
    code, said = refused(here, tmp_path / "data", within=("unshare", "--user"))
    assert code == 1
    assert "needs root" in said
    assert "sudo" in said
    assert not (tmp_path / "data").exists()


def test_occupied_port(here: Namespace, tmp_path: Path) -> None:
    with here.entered():
        squatter = socket.create_server(("127.0.0.1", 8083))
    with squatter:
        code, said = refused(here, tmp_path / "data")
    assert code == 1
    assert "127.0.0.1:8083" in said


def test_foreign_data_directory(here: Namespace, tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("mine")
    code, said = refused(here, tmp_path)
    assert code == 1
    assert str(tmp_path) in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["letters"]


def test_unwritable_data_directory(here: Namespace) -> None:
    # Not even root can make a directory there.
    code, said = refused(here, Path("/proc/cnnf"))
    assert code == 1
    assert "/proc/cnnf" in said


def test_without_nft(here: Namespace, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("ip", "nsenter"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    done = subprocess.run(
        here.command(*CNNF, "up", "--data-dir", str(tmp_path / "data")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": str(programs)},
    )
    assert done.returncode == 1
    assert "package nftables" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_defender_is_refused(here: Namespace, tmp_path: Path) -> None:
    first = Product(here, tmp_path / "first")
    first.start()
    try:
        options = ("--listen", "127.0.0.1:9083", "--defender-listen", "127.0.0.1:9084")
        code, said = refused(here, tmp_path / "second", *options)
        assert code == 1
        assert "a Defender runs in this network namespace already" in said
        assert "inet cnnf" in here.run("nft", "list", "tables")
    finally:
        assert first.stop() == 0


def test_a_docker_socket_that_refuses(here: Namespace, tmp_path: Path) -> None:
    """The rest works, and the condition is shown; what needs Docker says why it can't."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    product = Product(here, tmp_path / "data", "--docker-socket", str(path))
    product.start()
    try:

        def codes() -> set[str]:
            return {one["code"] for one in product.get("/defenders")[0]["conditions"]}

        eventually(lambda: "docker-unreachable" in codes(), 5.0, "the condition")
        demo = subprocess.run(
            here.command(*CNNF, "demo", "--docker", f"unix://{path}"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert demo.returncode == 1
        assert str(path) in demo.stderr
    finally:
        assert product.stop() == 0


def test_doctor_and_radar_without_anything(here: Namespace, tmp_path: Path) -> None:
    """`cnnf radar` says how to start; `cnnf doctor` answers in JSON whatever it finds."""
    done = subprocess.run(
        here.command(*CNNF, "radar", "--data-dir", str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "cnnf up" in done.stderr
    examined = here.run(*CNNF, "doctor", "--json", check=False)
    assert json.loads(examined)

"""`cnnf doctor` on a real kernel, engine and rules of others."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docker.test_demo import CNNF
from tests.lab.engine import Engine

pytestmark = pytest.mark.docker

MARKING = ("OUTPUT", "-p", "tcp", "--dport", "9", "-j", "MARK", "--set-xmark", "0x400/0x400")


def doctor(engine: Engine, *options: str, user: int = 0) -> tuple[int, dict[str, dict[str, Any]]]:
    command = (*CNNF, "doctor", "--json", "--docker-socket", str(engine.socket), *options)
    if user:
        command = ("setpriv", f"--reuid={user}", "--clear-groups", *command)
    done = subprocess.run(
        engine.namespace.command(*command), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, {check["code"]: check for check in json.loads(done.stdout)}


def test_this_machine_has_all_that_is_needed_and_nothing_is_changed(box: Engine) -> None:
    before = box.namespace.run("nft", "list", "ruleset")
    code, checks = doctor(box)
    assert code == 0
    assert {name: check["state"] for name, check in checks.items()} == dict.fromkeys(checks, "ok")
    assert len(checks) == 11
    assert "docker0" in checks["bridges"]["detail"] or "1 of 1" in checks["bridges"]["detail"]
    assert box.namespace.run("nft", "list", "ruleset") == before


def test_mark_bits_of_others_are_named(box: Engine) -> None:
    box.namespace.run("iptables", "-t", "mangle", "-A", *MARKING)
    try:
        code, checks = doctor(box)
        assert (code, checks["marks"]["state"]) == (0, "warn")
        assert checks["marks"]["detail"].count("--set-xmark 0x400/0x400") == 1
        assert "--mark-mask" in checks["marks"]["mend"]
        assert doctor(box, "--mark-mask", "0xf0000")[1]["marks"]["state"] == "ok"
    finally:
        box.namespace.run("iptables", "-t", "mangle", "-D", *MARKING)


def test_a_queue_number_in_use_is_a_failure(box: Engine) -> None:
    with box.namespace.entered():
        taken = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    with taken:
        taken.bind((0, 0))
        # nfnetlink_queue's config message: bind queue 8030 (NFQNL_CFG_CMD_BIND).
        bind = bytes.fromhex("1c000000 0203 0500 00000000 00000000 0000 1f5e 0800 0100 01 00 0000")
        taken.send(bind)
        assert int.from_bytes(taken.recv(4096)[16:20], "little", signed=True) == 0
        code, checks = doctor(box)
        assert (code, checks["queues"]["state"]) == (1, "fail")
        assert "8030" in checks["queues"]["detail"]
        assert doctor(box, "--queue", "9000")[0] == 0


def test_somebody_without_privileges_is_told_what_to_do(box: Engine) -> None:
    code, checks = doctor(box, user=65534)
    assert code == 1
    for name in ("privileges", "nft", "nfqueue"):
        assert checks[name]["state"] == "fail"
        assert "root" in checks[name]["mend"]
    assert checks["marks"]["state"] == "warn"


def test_no_docker_is_a_warning(box: Engine, tmp_path: Path) -> None:
    command = box.namespace.command(*CNNF, "doctor", "--docker-socket", str(tmp_path / "none"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "apt-get install docker.io" in " ".join(done.stdout.split())

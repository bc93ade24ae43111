"""What goes wrong with the demo: killed, in the way of somebody else's things, without Docker."""

import subprocess
from pathlib import Path

import pytest

from tests.docker.test_demo import CNNF, NOTHING, cnnf, leftovers, start
from tests.lab.engine import IMAGE, Engine

pytestmark = pytest.mark.docker


def test_stop_removes_what_a_killed_run_left(box: Engine) -> None:
    process = start(box)
    process.kill()
    process.communicate()
    assert cnnf(box, "status").returncode == 0
    done = cnnf(box, "stop")
    assert done.returncode == 0, done.stderr
    assert leftovers(box) == NOTHING
    again = cnnf(box, "stop")
    assert (again.returncode, again.stdout) == (0, "There is no demo to remove.\n")


def test_somebody_elses_container_stops_the_start_and_stays(box: Engine) -> None:
    theirs = box.run_box("--name", "shop-cart-1")
    done = cnnf(box)
    assert done.returncode == 1
    assert "shop-cart-1 that is not the demo's" in done.stderr
    assert box.docker("ps", "-q", "--no-trunc") == theirs


def test_somebody_elses_image_is_not_overwritten(box: Engine) -> None:
    box.docker("tag", IMAGE, "shop/cart:1.4")
    try:
        done = cnnf(box)
        assert done.returncode == 1
        assert "image shop/cart:1.4 that is not the demo's" in done.stderr
    finally:
        box.docker("rmi", "shop/cart:1.4")


def test_an_occupied_port_fails_clearly_and_leaves_nothing(box: Engine) -> None:
    squatter = box.namespace.start(
        "/bin/busybox", "nc", "-ll", "-p", "18089", "-e", "/bin/busybox", "true"
    )
    try:
        done = cnnf(box)
    finally:
        squatter.kill()
        squatter.wait()
    assert done.returncode == 1
    assert "18089" in done.stderr
    assert leftovers(box) == NOTHING


@pytest.mark.parametrize("command", [(), ("status",), ("stop",), ("attack",)])
def test_without_docker_every_command_says_what_to_do(
    box: Engine, command: tuple[str, ...], tmp_path: Path
) -> None:
    address = f"unix://{tmp_path}/none"
    arguments = box.namespace.command(*CNNF, "demo", *command, "--docker", address)
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].strip()
    assert "Traceback" not in done.stderr


def test_an_address_that_is_no_socket_is_wrong_usage(box: Engine) -> None:
    arguments = box.namespace.command(*CNNF, "demo", "--docker", "tcp://127.0.0.1:2375")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "unix:///path" in done.stderr

"""A real Docker Engine for the tests in this folder, one for the whole run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.estate import Map, running_estate
from tests.lab import engine as lab
from tests.lab import netns


@pytest.fixture(scope="package")
def engine() -> Iterator[lab.Engine]:
    """An engine in a network namespace of its own, with the image `lab.IMAGE`."""
    missing = lab.missing()
    if missing:
        pytest.skip(missing)
    netns.remove_stale()
    lab.remove_stale()
    with netns.namespaces() as (namespace,):
        # Not pytest's own temporary folder: a Unix socket's path has at most 107 bytes.
        made = lab.Engine(namespace, Path(f"/tmp/cnnf-test-{os.getpid()}"))
        try:
            made.start()
            made.import_box()
            yield made
        finally:
            made.remove()


@pytest.fixture
def box(engine: lab.Engine) -> Iterator[lab.Engine]:
    """The engine; containers and networks a test leaves are removed after it."""
    yield engine
    containers = engine.docker("ps", "-aq").split()
    if containers:
        engine.docker("rm", "-f", *containers)
    # Not the ones the engine makes itself, which get new ids when it restarts.
    networks = engine.docker("network", "ls", "-q", "--filter", "type=custom").split()
    if networks:
        engine.docker("network", "rm", *networks)


@pytest.fixture(scope="module")
def radar(engine: lab.Engine) -> Iterator[Map]:
    """Console and Defender beside the running estate."""
    with running_estate(engine) as made:
        yield made

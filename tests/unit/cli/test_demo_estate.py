"""The demo estate as data: it holds together, and its scripts are made from it."""

import io
import struct
import tarfile
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import pytest

from cnnf.cli.demo_estate.definition import (
    APPS,
    CONTAINER_EDGES,
    EDGES,
    HOST_EDGES,
    HOST_SERVICES,
    HOST_TO_CONTAINER_EDGES,
    INTERNET_ADDRESS,
    NETWORKS,
    STRANGER_ADDRESS,
    app,
)
from cnnf.cli.demo_estate.engine import socket_path
from cnnf.cli.demo_estate.image import is_static, pack
from cnnf.cli.demo_estate.scripts import container_script, host_script
from cnnf.cli.failure import Failure
from cnnf.policy.addresses import is_internet, parse_address


def test_whoever_calls_shares_a_network_with_whom_it_calls() -> None:
    for edge in CONTAINER_EDGES:
        source = app(edge.source)
        assert set(source.networks) <= set(NETWORKS)
        if edge.destination != INTERNET_ADDRESS:
            called = app(edge.destination)
            assert set(source.networks) & set(called.networks), edge
            assert edge.port == called.port
            # Started before its callers, so that its name can be resolved.
            assert APPS.index(called) < APPS.index(source)


def test_names_ports_and_edges_are_each_there_once() -> None:
    assert max(Counter(EDGES).values()) == 1
    published = [port for one in APPS for port in one.published]
    assert len(published) == len(set(published))
    assert all(len(one.published) in (0, one.replicas) for one in APPS)
    services = {service.name for service in HOST_SERVICES}
    assert {edge.source for edge in HOST_EDGES + HOST_TO_CONTAINER_EDGES} <= services


def test_the_trespass_crosses_networks() -> None:
    assert not set(app("frontend").networks) & set(app("database").networks)


@pytest.mark.parametrize("text", [INTERNET_ADDRESS, STRANGER_ADDRESS])
def test_the_internet_side_counts_as_internet_and_is_nobodys(text: str) -> None:
    assert is_internet(parse_address(text))
    assert ip_address(text).is_private  # documentation range: never routed


def test_a_containers_script_serves_and_calls_what_is_defined() -> None:
    script = container_script(app("orders"))
    assert "httpd -p 8083" in script
    calls = {
        (edge.destination, edge.port): edge.source == "shop/orders" for edge in CONTAINER_EDGES
    }
    calls |= {(e.destination, e.port): True for e in CONTAINER_EDGES if e.source == "shop/orders"}
    for (destination, port), called in calls.items():
        name = destination.rpartition("/")[2]
        assert (f" {name} {port} " in script) == called
    assert "nc -ll -p 5432" in container_script(app("database"))


def test_host_scripts_hold_nothing_that_a_service_manager_takes_for_its_own() -> None:
    for service in HOST_SERVICES:
        script = host_script(service.name, database_address="10.0.0.2", pages="/run/x")
        assert not set("$%\\") & set(script), service
    with pytest.raises(KeyError):
        host_script("unknown", database_address="10.0.0.2", pages="/run/x")


def test_an_image_is_a_small_file_system() -> None:
    packed = pack(app("cart"), b"program")
    assert packed == pack(app("cart"), b"program")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getmember("bin/sh").linkname == "busybox"
        page = archive.extractfile("www/index.html")
        assert page is not None
        assert b"shop/cart:1.4" in page.read()


def elf(*kinds: int) -> bytes:
    """A 64-bit little-endian ELF header with program headers of these kinds."""
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    rest = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, len(kinds), 0, 0, 0)
    return ident + rest + b"".join(struct.pack("<I52x", kind) for kind in kinds)


def test_static_programs_are_told_from_others() -> None:
    assert is_static(elf(1, 1, 6))
    assert not is_static(elf(1, 3))
    assert not is_static(elf(1, 1)[:70])
    assert not is_static(b"#!/bin/sh\n")
    assert not is_static(b"")


def test_only_unix_sockets_are_understood() -> None:
    assert socket_path("unix:///run/x.sock") == Path("/run/x.sock")
    with pytest.raises(Failure) as refused:
        socket_path("tcp://127.0.0.1:2375")
    assert refused.value.exit_code == 2

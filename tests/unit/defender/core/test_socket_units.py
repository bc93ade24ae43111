"""Socket units: where they listen, and for whom."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.socket_units import socket_unit

LOOP = ip_address("127.0.0.1").packed
LOOP6 = ip_address("::1").packed


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("[Socket]\nListenStream=22", [("tcp", b"", 22)]),
        ("[Socket]\nListenStream = 0.0.0.0:22\nListenStream=[::]:22", [("tcp", b"", 22)] * 2),
        ("[Socket]\nListenStream=127.0.0.1:631", [("tcp", LOOP, 631)]),
        ("[Socket]\nListenStream=[::1%lo]:631", [("tcp", LOOP6, 631)]),
        ("[Socket]\nListenDatagram=69\nListenStream=70", [("tcp", b"", 70), ("udp", b"", 69)]),
        ("[Socket]\nListenStream=/run/x.sock\nListenStream=@x\nListenStream=vsock::5", []),
        ("[Socket]\nListenStream=0\nListenStream=65536\nListenStream=²", []),
        ("[Socket]\nListenStream=%i\nListenStream=999.1.1.1:5\nListenStream=[x]:5", []),
        ("[Socket]\nListenStream=1\nListenStream=\nListenStream=2", [("tcp", b"", 2)]),
        ("[Unit]\nListenStream=1\n[Socket]\n# ListenStream=2\n;ListenStream=3", []),
        ("[Socket]\nListenStream=\\\n 22", [("tcp", b"", 22)]),
        ("", []),
    ],
)
def test_where(text: str, places: list[tuple[str, bytes, int]]) -> None:
    assert list(socket_unit("x.socket", [text]).places) == places


@pytest.mark.parametrize(
    ("name", "text", "service"),
    [
        ("ssh.socket", "", "ssh"),
        ("sshd@.socket", "", "sshd"),
        ("a.socket", "[Socket]\nService=b.service", "b"),
        ("a.socket", "[Socket]\nService=b@1.service", "b"),
        ("a.socket", "[Socket]\nService=../../evil", "a"),
        (r"my\x2dapp.socket", "", "my-app"),
    ],
)
def test_for_whom(name: str, text: str, service: str) -> None:
    assert socket_unit(name, [text]).service == service


def test_drop_ins_come_after_the_unit() -> None:
    unit = socket_unit(
        "ssh.socket",
        ["[Socket]\nListenStream=22", "[Socket]\nListenStream=\nListenStream=2222"],
    )
    assert unit.places == (("tcp", b"", 2222),)


@given(st.text(max_size=30), st.lists(st.text(max_size=300), max_size=4))
def test_any_text_is_read(name: str, texts: list[str]) -> None:
    unit = socket_unit(name, [f"[Socket]\nListenStream={text}" for text in texts])
    assert all(0 < port < 65_536 for _, _, port in unit.places)

"""A Docker Engine's answers to values, good and bad."""

import copy
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.containers import Container, PublishedPort
from cnnf.defender.discovery.answers import (
    Event,
    InspectedContainer,
    InspectedImage,
    Version,
    addresses_in_network,
    api_version,
    container_from,
    decode,
    milliseconds,
    networks_from,
    podman_networks_from,
)
from cnnf.defender.discovery.errors import BadAnswer

ID = "ab" * 32
IMAGE_ID = "sha256:" + "cd" * 32

#: Cut from what Docker 20.10 answers.
CONTAINER: dict[str, Any] = {
    "Id": ID,
    "Name": "/shop-web-1",
    "Image": IMAGE_ID,
    "RestartCount": 2,
    "State": {
        "Status": "running",
        "Pid": 4242,
        "StartedAt": "2026-11-22T03:32:09.295918371Z",
        "Health": {"Status": "healthy"},
    },
    "Config": {
        "Image": "shop/web:2.3",
        "Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"},
    },
    "HostConfig": {"NetworkMode": "shop-front"},
    "NetworkSettings": {
        "Ports": {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"}], "9/udp": None},
        "Networks": {
            "shop-front": {
                "NetworkID": "ee" * 32,
                "IPAddress": "172.20.0.2",
                "Gateway": "172.20.0.1",
                "GlobalIPv6Address": "fd00:0::2",
                "IPv6Gateway": "",
            }
        },
    },
}


def read(**changes: Any) -> Container:
    answer = copy.deepcopy(CONTAINER)
    for path, value in changes.items():
        place = answer
        *parents, last = path.split("__")
        for name in parents:
            place = place[name]
        place[last] = value
    inspected: InspectedContainer = decode(
        json.dumps(answer).encode(), InspectedContainer, "container"
    )
    return container_from(inspected, None)


def test_a_container() -> None:
    container = read()
    assert (container.image, container.tag, container.title) == ("shop/web", "2.3", "shop-web-1")
    assert (container.project, container.compose_service) == ("shop", "web")
    assert container.addresses == ("172.20.0.2", "fd00::2")
    assert container.gateways == ("172.20.0.1",)
    assert container.published == (
        PublishedPort(host_address="0.0.0.0", host_port=80, port=8080, protocol="tcp"),
    )
    assert container.started_at == 1795318329295
    assert (container.pid, container.state, container.health) == (4242, "running", "healthy")
    assert container.restarts == 2


def test_network_modes() -> None:
    assert read(HostConfig__NetworkMode="host").host_network
    asked = read(HostConfig__Dns=["192.0.2.53", "::ffff:10.0.0.1", "no server", "2001:DB8::53"])
    assert asked.resolvers == ("192.0.2.53", "10.0.0.1", "2001:db8::53")
    assert read(HostConfig__Dns=None).resolvers == ()
    other = "cc" * 32
    assert read(HostConfig__NetworkMode=f"container:{other}").shared_network == other
    nets = {"host": {"NetworkID": "aa", "IPAddress": ""}}
    assert read(NetworkSettings__Networks=nets).attachments == ()


def test_an_image_adds_digest_and_name() -> None:
    digest = "sha256:" + "ef" * 32
    image = InspectedImage(
        id=IMAGE_ID, repo_tags=["shop/web:9"], repo_digests=[f"docker.io/shop/web@{digest}"]
    )
    inspected: InspectedContainer = decode(json.dumps(CONTAINER).encode(), InspectedContainer, "c")
    assert container_from(inspected, image).digest == digest
    inspected.config.image = IMAGE_ID
    assert container_from(inspected, image).tag == "9"
    assert container_from(inspected, None).image == "cd" * 6


@pytest.mark.parametrize(
    "change",
    [
        {"Id": "../../etc/passwd"},
        {"Id": 7},
        {"State": None},
        {"NetworkSettings__Networks": {"x": {"IPAddress": "1.2.3"}}},
        {"NetworkSettings__Ports": {"http/tcp": [{"HostPort": "80"}]}},
        {"NetworkSettings__Ports": {"80/tcp": [{"HostPort": "99999"}]}},
        {"NetworkSettings__Ports": {"80/tcp": [{"HostPort": "80", "HostIp": "x"}]}},
        {"Config__Labels": {"a": 1}},
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        read(**change)


def test_networks() -> None:
    answer: list[dict[str, Any]] = [
        {"Id": "aa" * 32, "Name": "host", "Driver": "host"},
        {
            "Id": "bb" * 32,
            "Name": "bridge",
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]},
            "Options": {"com.docker.network.bridge.name": "docker0"},
        },
        {
            "Id": "cc" * 32,
            "Name": "six",
            "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": "fd00::/64", "Gateway": "fd00::1/64"}]},
        },
        {"Id": "dd" * 32, "Name": "lan", "Driver": "macvlan", "IPAM": {"Config": None}},
    ]
    bridge, six, lan = networks_from(json.dumps(answer).encode())
    assert (bridge.bridge, bridge.subnets) == ("docker0", ("172.17.0.0/16",))
    assert (six.bridge, six.gateways) == ("br-cccccccccccc", ("fd00::1",))
    assert (lan.bridge, lan.driver) == ("", "macvlan")
    with pytest.raises(BadAnswer, match="no subnet"):
        networks_from(json.dumps([answer[1] | {"IPAM": {"Config": [{"Subnet": "x"}]}}]).encode())


def test_a_network_tells_the_addresses_of_who_is_in_it() -> None:
    place = {"Name": "web", "IPv4Address": "172.18.0.2/16", "IPv6Address": "fd00:18::2/64"}
    answer = {"Id": "aa" * 32, "Containers": {ID: place, "ep-1": None}}
    body = json.dumps(answer).encode()
    assert addresses_in_network(body, ID) == ("172.18.0.2", "fd00:18::2")
    assert addresses_in_network(body, "ep-1") == addresses_in_network(body, "other") == ()
    assert addresses_in_network(b'{"Id": "aa", "Containers": null}', ID) == ()
    with pytest.raises(BadAnswer):
        addresses_in_network(b'{"Containers": []}', ID)


def test_events_name_their_container() -> None:
    connect = {
        "Type": "network",
        "Action": "connect",
        "Actor": {"ID": "aa", "Attributes": {"container": ID, "name": "bridge"}},
        "timeNano": 5,
    }
    event: Event = decode(json.dumps(connect).encode(), Event, "event")
    assert (event.container, event.time_ns) == (ID, 5)
    died: Event = decode(b'{"Type":"container","Action":"die","Actor":{"ID":"xy"}}', Event, "event")
    assert died.container == "xy"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-22T03:32:09.295918371Z", 1795318329295),
        ("2026-11-22T04:32:09.295+01:00", 1795318329295),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times(text: str, ms: int) -> None:
    assert milliseconds(text) == ms


@pytest.mark.parametrize("text", ["", "1", "1.", "x.y", "1.41.2", "1234567.89"])
def test_versions_that_are_none(text: str) -> None:
    with pytest.raises(BadAnswer):
        api_version(text)


@given(st.binary(max_size=200))
def test_bytes_are_never_trusted(data: bytes) -> None:
    for kind in (InspectedContainer, list[InspectedContainer], Event):
        with suppress(BadAnswer):
            decode(data, kind, "thing")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["Id", "State", "Config", "NetworkSettings", "Networks", "Ports"]),
            inner,
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_container_or_a_bad_answer(document: object) -> None:
    data = msgspec.json.encode(document) if _encodable(document) else b"0"
    try:
        answer: InspectedContainer = decode(data, InspectedContainer, "container")
        container_from(answer, None)
    except BadAnswer:
        return


def _encodable(document: object) -> bool:
    try:
        msgspec.json.encode(document)
    except (OverflowError, UnicodeEncodeError, msgspec.EncodeError):
        return False
    return True


def test_podman_is_told_apart_and_tells_its_interfaces_itself() -> None:
    said = b'{"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}'
    podman: Version = decode(said, Version, "version")
    docker: Version = decode(b'{"ApiVersion": "1.41"}', Version, "version")
    assert (podman.is_podman, docker.is_podman) == (True, False)
    body = (
        b'[{"name": "two", "id": "' + b"ab" * 32 + b'", "driver": "bridge",'
        b' "network_interface": "podman1", "subnets": [{"subnet": "10.89.0.0/24",'
        b' "gateway": "10.89.0.1"}, {"subnet": "fdac:cf73:a839:73e0::/64"}]},'
        b' {"name": "lan", "id": "' + b"cd" * 32 + b'", "driver": "macvlan",'
        b' "network_interface": "eth0", "subnets": null}]'
    )
    two, lan = podman_networks_from(body)
    assert (two.name, two.bridge, two.routed) == ("two", "podman1", False)
    assert two.subnets == ("10.89.0.0/24", "fdac:cf73:a839:73e0::/64")
    assert two.gateways == ("10.89.0.1",)
    # It lies on the host's own interface, which is no bridge.
    assert (lan.bridge, lan.routed) == ("", True)
    with pytest.raises(BadAnswer, match="subnet"):
        podman_networks_from(body.replace(b"10.89.0.0/24", b"10.89.0.0/99"))


@pytest.mark.parametrize(
    ("driver", "options", "masquerades6", "routed", "routed6"),
    [
        ("bridge", b"{}", True, False, False),
        # Up to Docker 26 IPv6 is masqueraded only where that was asked for.
        ("bridge", b"{}", False, False, True),
        *(
            ("bridge", b'{"com.docker.network.bridge.%s"}' % option, True, *routed)
            for option, routed in (
                (b'enable_ip_masquerade": "false', (True, True)),
                (b'enable_ip_masquerade": "true', (False, False)),
                (b'gateway_mode_ipv4": "routed', (True, False)),
                (b'gateway_mode_ipv6": "routed', (False, True)),
            )
        ),
        ("macvlan", b"null", True, True, True),
        ("ipvlan", b"null", True, True, True),
        ("overlay", b"{}", True, True, True),
    ],
)
def test_a_network_says_whether_its_addresses_mean_the_same_elsewhere(
    driver: str, options: bytes, masquerades6: bool, routed: bool, routed6: bool
) -> None:
    body = b'[{"Id": "%s", "Driver": "%s", "Options": %s}]' % (
        b"ab" * 32, driver.encode(), options,
    )  # fmt: skip
    (network,) = networks_from(body, masquerades6=masquerades6)
    told = [network.is_routed(subnet) for subnet in ("172.18.0.0/16", "fd00::/64")]
    assert told == [routed, routed6]

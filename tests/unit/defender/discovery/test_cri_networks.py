"""Pods' networks out of plugins' configurations, as their manuals have them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.containers import ContainerNetwork
from cnnf.defender.discovery import limits
from cnnf.defender.discovery.cri_networks import (
    Surroundings,
    _blackholes4,
    _blackholes6,
    networks_from,
    sources_from,
    with_addresses,
)

#: `/proc/net/route` and `/proc/net/ipv6_route` of a host with Calico's blocks.
ROUTES4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
*\t4001F40A\t00000000\t0201\t0\t0\t0\tC0FFFFFF\t0\t0\t0
cali1234\t4101F40A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
"""
ROUTES6 = (
    "fd001044000100000000000000000000 7a 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000400 00000001 00000000 00200200       lo\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
)
FLANNEL = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\n"


def read(
    configuration: Any, around: Surroundings | None = None, *, present: bool = True
) -> ContainerNetwork:
    (found,) = networks_from(
        [json.dumps(configuration)], around or Surroundings(), lambda _: present
    )
    return found


def listed(*plugins: Any) -> Any:
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": list(plugins)}


def test_a_bridge_with_ranges() -> None:
    ranges = [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}], [{"subnet": "fd00:88::/64"}]]
    plugin = {"type": "bridge", "bridge": "cni9", "ipam": {"type": "host-local", "ranges": ranges}}
    found = read(listed(plugin, {"type": "portmap", "capabilities": {"portMappings": True}}))
    assert found == ContainerNetwork(
        id="cni:pods",
        name="pods",
        driver="bridge",
        bridge="cni9",
        subnets=("10.88.0.0/16", "fd00:88::/64"),
        gateways=("10.88.0.1",),
        routed=True,
    )


def test_a_bridge_that_is_not_there_yet_has_its_network_already() -> None:
    plugin = {"type": "bridge", "ipam": {"subnet": "10.1.0.0/24"}}
    found = read(listed(plugin), present=False)
    assert (found.driver, found.bridge, found.subnets) == ("bridge", "", ("10.1.0.0/24",))
    assert read(listed(plugin)).bridge == "cni0"


def test_one_plugin_without_a_list() -> None:
    found = read({"name": "old", "type": "ptp", "ipam": {"subnet": "10.2.0.0/24"}})
    assert (found.id, found.driver, found.bridge) == ("cni:old", "routed", "")
    assert found.subnets == ("10.2.0.0/24",)


def test_flannel_writes_down_its_subnet() -> None:
    plugin = {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}}
    found = read(listed(plugin), Surroundings(flannel=FLANNEL))
    assert (found.driver, found.bridge) == ("bridge", "cni0")
    assert (found.subnets, found.gateways) == (("10.244.1.0/24",), ("10.244.1.1",))


def test_calicos_blocks_are_routed_into_nothing() -> None:
    blackholes = (*_blackholes4(ROUTES4), *_blackholes6(ROUTES6))
    plugin = {"type": "calico", "ipam": {"type": "calico-ipam"}}
    found = read(listed(plugin), Surroundings(blackholes=blackholes))
    assert (found.driver, found.bridge) == ("routed", "")
    assert found.subnets == ("10.244.1.64/26", "fd00:1044:1::/122")


def test_what_goes_past_the_host_says_so() -> None:
    plugin = {"type": "macvlan", "master": "eth0", "ipam": {"subnet": "192.168.7.0/24"}}
    assert read(listed(plugin)).driver == "macvlan"


@pytest.mark.parametrize(
    "text",
    [
        "", "no json", "[]", "3", "null", '"text"', '{"plugins": {}}', '{"plugins": [3]}',
        '{"type": "bridge", "ipam": {"subnet": "10.0.0.0/99"}}',
        '{"type": "bridge", "ipam": {"ranges": [3]}}', '{"type": "bridge", "ipam": [3]}',
        '{"type": "x", "ipam": {"addresses": [{}]}}', '{"name": "lo", "type": "loopback"}',
        "[" * 5000, '{"type": "bridge", "ipam": {"ranges": [{"a": 1}]}}',
    ],
)  # fmt: skip
def test_what_can_t_be_read_is_left_out(text: str) -> None:
    good = json.dumps(listed({"type": "ptp", "ipam": {"subnet": "10.2.0.0/24"}}))
    found = networks_from([text, good], Surroundings(), lambda _: True)
    assert [network.id for network in found] == ["cni:pods"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("type", "ipam", "ranges", "subnet", "plugins", "bridge", "delegate", "x")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values, st.text(max_size=200))
def test_nothing_is_too_strange(value: Any, text: str) -> None:
    around = Surroundings(flannel=text, blackholes=())
    networks_from([json.dumps(value), text], around, lambda _: True)
    sources_from(text)
    sources_from(json.dumps({"Networks": value}))


def test_what_containerd_tells() -> None:
    told = {"PluginDirs": ["/opt/cni/bin"], "Networks": [
        {"Config": {"Name": "pods", "Plugins": [], "Source": "{}"}, "IFName": "eth0"},
        {"Config": None},
    ]}  # fmt: skip
    assert sources_from(json.dumps(told)) == ["{}"]
    assert sources_from("") == []


def test_addresses_outside_of_every_subnet_are_taken_by_themselves() -> None:
    known = read(listed({"type": "ptp", "ipam": {"subnet": "10.2.0.0/24"}}))
    addresses = ["10.2.0.7", "10.9.0.4", "10.9.0.5", "fd00::7"]
    network, other = with_addresses((known,), addresses)
    assert network == known
    assert (other.driver, other.routed) == ("routed", True)
    assert other.subnets == ("10.9.0.4/31", "fd00::7/128")
    assert with_addresses((known,), ["10.2.0.7"]) == (known,)


def test_there_are_not_more_of_them_than_others_have_room_for() -> None:
    addresses = [f"10.9.{n // 100}.{n % 100 * 2}" for n in range(limits.CNI_ADDRESSES_MAX + 50)]
    (found,) = with_addresses((), addresses)
    assert len(found.subnets) == limits.CNI_ADDRESSES_MAX

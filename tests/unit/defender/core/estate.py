"""A small host as values: containers, networks and addresses for the tests of this folder."""

from ipaddress import ip_address

from cnnf.defender.core.containers import (
    Attachment,
    Container,
    ContainerNetwork,
    PublishedPort,
)
from cnnf.protocol.messages import Protocol

SHOP = ContainerNetwork(
    id="n1",
    name="shop",
    driver="bridge",
    bridge="br-shop",
    subnets=("172.18.0.0/16", "fd00:18::/64"),
    gateways=("172.18.0.1",),
)


def packed(text: str) -> bytes:
    """The address as the kernel has it."""
    return ip_address(text).packed


def container(
    name: str,
    *addresses: str,
    started_at: int = 0,
    published: tuple[tuple[int, int], ...] = (),
    state: str = "running",
    protocol: Protocol = "tcp",
    at: str = "0.0.0.0",
    since: int = 0,
    shared: str = "",
    pod: str = "",
) -> Container:
    """A container on the shop network; `published` are pairs of host port and its own
    port, `at` one of the host's addresses, `shared` whose network namespace it lives in."""
    return Container(
        id=name,
        image=f"shop/{name}",
        title=name,
        attachments=()
        if shared
        else (Attachment(network="n1", name="shop", addresses=addresses, since=since),),
        shared_network=shared,
        pod_uid=pod,
        started_at=started_at,
        state=state,
        published=tuple(
            PublishedPort(host_address=at, host_port=there, port=here, protocol=protocol)
            for there, here in published
        ),
    )

"""The demo estate as data: who is there, where it lives, who calls whom.

The builder makes exactly this, and the tests compare Radar with `EDGES`, so nothing of the estate
is written down twice.
"""

import msgspec

#: On every container, network and image of the estate; nothing without it is ever removed.
LABEL = "cnnf.demo"
PROJECT = "shop"

FRONT = "shop-front"
BACK = "shop-back"
NETWORKS = (FRONT, BACK)

#: The stand-in for the internet: a network namespace that answers at documentation addresses
#: (RFC 5737), which count as internet and which nobody owns.
INTERNET_NETWORK = "203.0.113.0/24"
INTERNET_ADDRESS = "203.0.113.10"
INTERNET_PORT = 443
#: Where the attack's unexpected connection goes.
STRANGER_ADDRESS = "203.0.113.66"
STRANGER_PORT = 4444


class App(msgspec.Struct, frozen=True, kw_only=True):
    """A container app: `replicas` containers of `shop/NAME:TAG` that listen on `port`.

    `published` are ports of the host's loopback address, one a replica.
    """

    name: str
    tag: str
    port: int
    networks: tuple[str, ...]
    serves: str = "http"
    replicas: int = 1
    published: tuple[int, ...] = ()

    @property
    def repository(self) -> str:
        """The image's name on Radar."""
        return f"{PROJECT}/{self.name}"

    @property
    def image(self) -> str:
        """The image's name with its tag."""
        return f"{self.repository}:{self.tag}"

    def containers(self) -> tuple[str, ...]:
        """The containers' names, as Compose would give them."""
        return tuple(f"{PROJECT}-{self.name}-{index + 1}" for index in range(self.replicas))


class HostService(msgspec.Struct, frozen=True, kw_only=True):
    """A service of the host. `port` is 0 where it only calls."""

    name: str
    port: int = 0

    @property
    def unit(self) -> str:
        """Its systemd unit, and its cgroup under `system.slice`."""
        return f"{self.name}.service"


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls whom: names as on Radar; the port is the one the destination listens on."""

    source: str
    destination: str
    port: int


#: Servers before those who call them: nobody asks for a name that is not there yet.
APPS = (
    App(name="database", tag="15", port=5432, networks=(BACK,), serves="lines"),
    App(name="cache", tag="7", port=6379, networks=(BACK,), serves="lines"),
    App(name="payments", tag="1.2", port=8084, networks=(BACK,)),
    App(name="catalogue", tag="1.8", port=8081, networks=(FRONT, BACK)),
    App(name="cart", tag="1.4", port=8082, networks=(FRONT, BACK)),
    App(name="orders", tag="3.1", port=8083, networks=(FRONT, BACK)),
    App(
        name="frontend",
        tag="2.3",
        port=8080,
        networks=(FRONT,),
        replicas=2,
        published=(18088, 18089),
    ),
)

METRICS_PORT = 19100

HOST_SERVICES = (
    HostService(name="shop-metrics", port=METRICS_PORT),
    HostService(name="shop-monitor"),
    HostService(name="shop-backup"),
    HostService(name="shop-gateway"),
)

#: Between containers, and to the internet side.
CONTAINER_EDGES = (
    Edge(source="shop/frontend", destination="shop/catalogue", port=8081),
    Edge(source="shop/frontend", destination="shop/cart", port=8082),
    Edge(source="shop/frontend", destination="shop/orders", port=8083),
    Edge(source="shop/catalogue", destination="shop/database", port=5432),
    Edge(source="shop/catalogue", destination="shop/cache", port=6379),
    Edge(source="shop/cart", destination="shop/cache", port=6379),
    Edge(source="shop/orders", destination="shop/cart", port=8082),
    Edge(source="shop/orders", destination="shop/payments", port=8084),
    Edge(source="shop/orders", destination="shop/database", port=5432),
    Edge(source="shop/payments", destination="shop/database", port=5432),
    Edge(source="shop/payments", destination=INTERNET_ADDRESS, port=INTERNET_PORT),
)
#: From services of the host to containers. The gateway uses the published ports.
HOST_TO_CONTAINER_EDGES = (
    Edge(source="shop-gateway", destination="shop/frontend", port=8080),
    Edge(source="shop-backup", destination="shop/database", port=5432),
)
#: Between services of the host, over loopback.
HOST_EDGES = (Edge(source="shop-monitor", destination="shop-metrics", port=METRICS_PORT),)

EDGES = CONTAINER_EDGES + HOST_TO_CONTAINER_EDGES + HOST_EDGES


def app(name: str) -> App:
    """The app `shop/NAME` or `NAME`. Raises KeyError."""
    for candidate in APPS:
        if name in (candidate.name, candidate.repository):
            return candidate
    raise KeyError(name)

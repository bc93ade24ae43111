"""The whole way with pods: a real containerd's containers connect, and Radar shows them by name."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker.estate import until
from tests.docker.runtime import product_beside, running_containerd
from tests.lab.containerd import Containerd
from tests.lab.product import Product

pytestmark = pytest.mark.docker

FRONT, API = "docker.io/shop/frontend:1.4", "docker.io/shop/api:2.0"
#: A connection is on the map within this; the product promises 2 s.
EDGE_S = 5.0
SERVE = ("/bin/sh", "-c", "while true; do nc -l -p 8080 </dev/null; done")


@pytest.fixture(scope="module")
def runtime() -> Iterator[Containerd]:
    with running_containerd("pods", FRONT, API) as made:
        yield made


@pytest.fixture(scope="module")
def product(runtime: Containerd) -> Iterator[Product]:
    with product_beside(runtime, "lab") as made:
        yield made


def edges(product: Product) -> set[tuple[str, str, int]]:
    graph: dict[str, Any] = product.get("/radar", view="containers", window="1h")
    names = {node["id"]: (*node["group"], node["name"]) for node in graph["nodes"]}
    return {
        ("/".join(names[edge["source"]]), "/".join(names[edge["target"]]), port["port"])
        for edge in graph["edges"]
        for port in edge["ports"]
    }


def call(runtime: Containerd, container: str, address: str) -> None:
    runtime.execute(container, "/bin/sh", "-c", f"nc -w 2 {address} 8080 </dev/null || true")


def address_of(runtime: Containerd, container: str) -> str:
    text = runtime.execute(container, "/bin/ip", "-4", "-o", "address", "show", "dev", "eth0")
    return text.split("inet ")[1].split("/")[0]


def test_a_pod_that_calls_another_is_an_edge_between_their_names(
    runtime: Containerd, product: Product
) -> None:
    labels = {"app": "api", "pod-template-hash": "77b9"}
    api = runtime.run_pod("api-77b9-bcdfg", namespace="shop", labels=labels)
    front = runtime.run_pod("front-0", namespace="shop")
    try:
        server = runtime.run_container(api, "api", *SERVE, image=API)
        client = runtime.run_container(front, "web", image=FRONT)
        call(runtime, client, address_of(runtime, server))
        expected = {("lab/shop/shop/frontend", "lab/shop/shop/api", 8080)}
        until(lambda: edges(product) == expected, EDGE_S)
        listed = product.get("/radar", view="containers", window="1h")["nodes"]
        assert {node["name"]: node["instances"] for node in listed} == {
            "shop/frontend": 1, "shop/api": 1,
        }  # fmt: skip
    finally:
        runtime.remove_pod(front)
        runtime.remove_pod(api)


def test_a_pods_very_first_connection_is_named(runtime: Containerd, product: Product) -> None:
    """It connects as its first deed, so that its name has to be found while the SYN waits."""
    api = runtime.run_pod("api-2", namespace="first")
    hasty = runtime.run_pod("hasty", namespace="first")
    try:
        server = runtime.run_container(api, "api", *SERVE, image=API)
        address = address_of(runtime, server)
        command = ("/bin/sh", "-c", f"nc -w 2 {address} 8080 </dev/null; sleep 600")
        runtime.run_container(hasty, "web", *command, image=FRONT)
        wanted = ("lab/first/shop/frontend", "lab/first/shop/api", 8080)
        until(lambda: wanted in edges(product), EDGE_S)
    finally:
        runtime.remove_pod(hasty)
        runtime.remove_pod(api)


def test_one_image_in_two_namespaces_is_two_apps(runtime: Containerd, product: Product) -> None:
    pods = [runtime.run_pod("same", namespace=name) for name in ("blue", "green", "red")]
    try:
        server = runtime.run_container(pods[2], "api", *SERVE, image=API)
        for pod in pods[:2]:
            container = runtime.run_container(pod, "web", image=FRONT)
            call(runtime, container, address_of(runtime, server))
        wanted = {
            (f"lab/{name}/shop/frontend", "lab/red/shop/api", 8080) for name in ("blue", "green")
        }
        until(lambda: wanted <= edges(product), EDGE_S)
    finally:
        for pod in pods:
            runtime.remove_pod(pod)


def test_a_sidecar_is_not_taken_for_whom_it_shares_an_address_with(
    runtime: Containerd, product: Product
) -> None:
    both = runtime.run_pod("both", namespace="sidecar")
    caller = runtime.run_pod("caller", namespace="sidecar")
    try:
        runtime.run_container(both, "proxy", image=FRONT)
        server = runtime.run_container(both, "api", *SERVE, image=API)
        address = address_of(runtime, server)
        call(runtime, runtime.run_container(caller, "c"), address)

        def targets() -> set[str]:
            return {edge[1] for edge in edges(product) if edge[0] == "lab/sidecar/lab/box"}

        until(lambda: bool(targets()), EDGE_S)
        # By its name or, where the socket was not found, by the address; never as its neighbour.
        assert targets() <= {"lab/sidecar/shop/api", address}
    finally:
        runtime.remove_pod(caller)
        runtime.remove_pod(both)


def test_an_address_given_to_another_pod_is_another_name(
    runtime: Containerd, product: Product
) -> None:
    api = runtime.run_pod("api-3", namespace="reuse")
    server = runtime.run_container(api, "api", *SERVE, image=API)
    target = address_of(runtime, server)
    try:
        for number, image in enumerate((FRONT, API, FRONT, API)):
            pod = runtime.run_pod(f"caller-{number}", namespace=f"reuse-{number}")
            try:
                call(runtime, runtime.run_container(pod, "c", image=image), target)
            finally:
                runtime.remove_pod(pod)
        wanted = {
            (f"lab/reuse-{number}/{image}", "lab/reuse/shop/api", 8080)
            for number, image in enumerate(
                ("shop/frontend", "shop/api", "shop/frontend", "shop/api")
            )
        }
        until(lambda: wanted == {edge for edge in edges(product) if "/reuse-" in edge[0]}, EDGE_S)
    finally:
        runtime.remove_pod(api)


def test_no_condition_stands(product: Product) -> None:
    (defender,) = product.get("/defenders")
    assert defender["conditions"] == []

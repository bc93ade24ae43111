"""A container runtime's answers to values: containerd's as recorded, CRI-O's as documented."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.discovery.cri_answers import Sandbox, container_from, sandbox_from
from cnnf.defender.discovery.errors import BadAnswer
from cnnf.defender.discovery.generated import cri_pb2 as cri
from cnnf.protocol.limits import LABELS_MAX, NAME_CHARS_MAX

ID, OTHER = "5d" * 32, "9e" * 32
IMAGE_ID = "sha256:" + "ef" * 32
DIGEST = "sha256:" + "ab" * 32


def sandbox(**more: object) -> cri.PodSandboxStatusResponse:
    """As containerd 1.6 answers."""
    status = cri.PodSandboxStatus(
        id=OTHER,
        metadata=cri.PodSandboxMetadata(name="frontend-0", uid="u-1", namespace="shop"),
        created_at=1795342047311574732,
        network=cri.PodSandboxNetworkStatus(
            ip="10.88.0.2", additional_ips=[cri.PodIP(ip="fd00::2"), cri.PodIP(ip="10.88.0.2")]
        ),
        labels={"app": "front", "io.kubernetes.pod.name": "frontend-0"},
    )
    answer = cri.PodSandboxStatusResponse(status=status)
    for name, value in more.items():
        answer.info[name] = str(value)
    return answer


def made(
    listed: cri.Container, status: cri.ContainerStatus, image: cri.Image | None = None
) -> tuple[str, str, str]:
    """The image's name, tag and digest."""
    listed.id = status.id = ID
    answer = cri.ContainerStatusResponse(status=status, info={"info": '{"pid": 77}'})
    found = container_from(listed, answer, sandbox_from(sandbox()), image, "prod")
    assert found.pid == 77
    return found.image, found.tag, found.digest


def test_a_sandbox_with_both_families() -> None:
    mapping = {"container_port": 8080, "host_port": 80, "protocol": 0}
    udp = {"container_port": 53, "host_port": 5353, "protocol": 1, "host_ip": "10.0.0.7"}
    odd = [{"host_port": 0, "container_port": 9}, {"host_port": 70_000, "container_port": 9}]
    ports = [mapping, udp, *odd, {**mapping, "protocol": 2}, {**mapping, "host_ip": "nowhere"}]
    found = sandbox_from(sandbox(info=json.dumps({"pid": 1, "config": {"port_mappings": ports}})))
    assert found.addresses == ("10.88.0.2", "fd00::2")
    assert found.labels == {"app": "front"}
    told = [(one.host_address, one.host_port, one.port, one.protocol) for one in found.published]
    assert told == [("0.0.0.0", 80, 8080, "tcp"), ("10.0.0.7", 5353, 53, "udp")]


def test_a_sandbox_on_the_hosts_network_has_no_address() -> None:
    answer = sandbox()
    answer.status.linux.namespaces.options.network = cri.NODE
    found = sandbox_from(answer)
    assert found.host_network
    assert found.addresses == ()


@pytest.mark.parametrize("info", ["", "no json", "[]", '{"config": 3}', "[" * 5000])
def test_what_a_runtime_adds_of_its_own_may_be_anything(info: str) -> None:
    assert sandbox_from(sandbox(info=info)).published == ()


def test_no_id_and_no_address() -> None:
    answer = sandbox()
    answer.status.id = "../../etc"
    with pytest.raises(BadAnswer, match="is no id"):
        sandbox_from(answer)
    answer = sandbox()
    answer.status.network.ip = "10.88.0"
    with pytest.raises(BadAnswer, match="is no address"):
        sandbox_from(answer)


def test_an_imported_image_of_containerd() -> None:
    spec = cri.ImageSpec(image="docker.io/shop/frontend:1.4")
    image = cri.Image(id=IMAGE_ID, repo_tags=["docker.io/shop/frontend:1.4"])
    listed = cri.Container(image=spec, image_ref=IMAGE_ID)
    status = cri.ContainerStatus(image=spec, image_ref=IMAGE_ID)
    assert made(listed, status, image) == ("shop/frontend", "1.4", "")


def test_a_kubelet_asks_by_id_and_the_status_names_the_image() -> None:
    listed = cri.Container(image=cri.ImageSpec(image=IMAGE_ID), image_ref=IMAGE_ID)
    status = cri.ContainerStatus(
        image=cri.ImageSpec(image="docker.io/library/nginx:1.27"),
        image_ref=f"docker.io/library/nginx@{DIGEST}",
    )
    assert made(listed, status) == ("nginx", "1.27", DIGEST)


def test_what_was_asked_for_goes_before_other_names_of_the_same_image() -> None:
    wanted = cri.ImageSpec(image=IMAGE_ID, user_specified_image="ghcr.io/shop/api:2")
    image = cri.Image(
        id=IMAGE_ID,
        repo_tags=["docker.io/other/name:1", "ghcr.io/shop/api:2"],
        repo_digests=[f"docker.io/other/name@{DIGEST}", f"ghcr.io/shop/api@{DIGEST}"],
    )
    listed = cri.Container(image=wanted, image_ref=IMAGE_ID)
    status = cri.ContainerStatus(image=cri.ImageSpec(image="docker.io/other/name:1"))
    assert made(listed, status, image) == ("ghcr.io/shop/api", "2", DIGEST)


def test_cri_o_writes_ids_without_what_they_are_of() -> None:
    bare = IMAGE_ID.removeprefix("sha256:")
    listed = cri.Container(image=cri.ImageSpec(image=bare), image_ref=bare)
    status = cri.ContainerStatus(
        image=cri.ImageSpec(image="quay.io/shop/api:3"), image_ref=f"quay.io/shop/api@{DIGEST}"
    )
    assert made(listed, status) == ("quay.io/shop/api", "3", DIGEST)


def test_an_image_without_a_name_is_known_by_its_id() -> None:
    listed = cri.Container(image=cri.ImageSpec(image=IMAGE_ID), image_ref=IMAGE_ID)
    status = cri.ContainerStatus(image=cri.ImageSpec(image=IMAGE_ID), image_ref=IMAGE_ID)
    assert made(listed, status)[0] == "efefefefefef"


texts = st.text(max_size=700)


@given(texts, texts, texts, st.dictionaries(texts, texts, max_size=80), st.integers(-9, 2**62))
def test_nothing_is_too_strange(
    name: str, image: str, info: str, labels: dict[str, str], started: int
) -> None:
    clean = {key: value for key, value in labels.items() if "\ud800" not in key}
    answer = sandbox(info=info)
    answer.status.metadata.name = name
    answer.status.labels.clear()
    for key, value in clean.items():
        answer.status.labels[key] = value
    pod: Sandbox = sandbox_from(answer)
    listed = cri.Container(id=ID, image=cri.ImageSpec(image=image), image_ref=image)
    status = cri.ContainerStatus(id=ID, started_at=started, image=cri.ImageSpec(image=image))
    reply = cri.ContainerStatusResponse(status=status, info={"info": info})
    found = container_from(listed, reply, pod, None)
    assert len(found.labels) <= LABELS_MAX
    assert max(len(found.image), len(found.title), len(found.pod)) <= NAME_CHARS_MAX * 2
    assert found.started_at >= 0

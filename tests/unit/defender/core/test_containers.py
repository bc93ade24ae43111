"""Containers as values: cleaning of other people's text, and the instance the Console gets."""

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.containers import (
    Attachment,
    Container,
    PublishedPort,
    as_instance,
    clean_labels,
    clean_text,
)
from cnnf.protocol.limits import LABEL_CHARS_MAX, LABELS_MAX


def test_text_loses_what_garbles_a_terminal_or_a_page() -> None:
    assert clean_text("a\x1b[31mb\x00\n\u202ec\ud800") == "a [31mb c"
    assert clean_text("  plain  ") == "plain"
    assert len(clean_text("x" * 10_000, 100)) == 100


@given(st.text(max_size=300))
def test_cleaned_text_can_always_be_sent(text: str) -> None:
    cleaned = clean_text(text, 100)
    cleaned.encode()
    assert len(cleaned) <= 100
    assert clean_text(cleaned, 100) == cleaned


def test_labels_are_bounded_in_number_and_length() -> None:
    labels = {f"k{index:03}": "v" * 1000 for index in range(200)}
    cleaned = clean_labels(labels)
    assert len(cleaned) == LABELS_MAX
    assert all(len(value) == LABEL_CHARS_MAX for value in cleaned.values())
    assert clean_labels({"\x00": "gone", "a\tb": "1"}) == {"a b": "1"}


def test_an_instance_says_what_the_container_is() -> None:
    container = Container(
        id="ab" * 32,
        image="shop/web",
        tag="2",
        title="shop-web-1",
        project="shop",
        attachments=(
            Attachment(network="n1", name="front", addresses=("10.0.0.2", "fd00::2")),
            Attachment(network="n2", name="back", addresses=("10.1.0.2",), gateways=("10.1.0.1",)),
        ),
        pid=7,
        started_at=1000,
        published=(
            PublishedPort(host_address="0.0.0.0", host_port=80, port=8080, protocol="tcp"),
            PublishedPort(host_address="::", host_port=80, port=8080, protocol="tcp"),
        ),
    )
    instance = as_instance(container, stopped_at=2000)
    assert instance.kind == "container"
    assert (instance.name, instance.tag, instance.title) == ("shop/web", "2", "shop-web-1")
    assert instance.addresses == ["10.0.0.2", "fd00::2", "10.1.0.2"]
    assert instance.ports == [80]
    assert (instance.started_at, instance.stopped_at) == (1000, 2000)
    assert container.gateways == ("10.1.0.1",)
    assert container.networks == ("n1", "n2")


def test_a_container_on_the_hosts_network_is_reached_where_it_listens() -> None:
    published = (PublishedPort(host_address="0.0.0.0", host_port=80, port=8080),)
    own = Container(id="ab" * 32, image="shop/web", published=published)
    assert as_instance(own, listening={9200}).ports == [80]
    hosts = Container(id="ab" * 32, image="shop/probe", host_network=True)
    assert as_instance(hosts, listening={9200, 22}).ports == [22, 9200]
    assert as_instance(hosts).ports == []

"""Image names as engines, users and Kubernetes write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.images import full_name, image_id, is_id_of, name_image, parse_image

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "name", "tag", "digest", "full"),
    [
        ("nginx", "nginx", "latest", "", "docker.io/library/nginx"),
        ("nginx:1.25", "nginx", "1.25", "", "docker.io/library/nginx"),
        ("library/nginx", "nginx", "latest", "", "docker.io/library/nginx"),
        ("docker.io/library/nginx:1.25", "nginx", "1.25", "", "docker.io/library/nginx"),
        ("docker.io/nginx", "nginx", "latest", "", "docker.io/library/nginx"),
        ("index.docker.io/library/nginx", "nginx", "latest", "", "docker.io/library/nginx"),
        ("registry-1.docker.io/a/b:c", "a/b", "c", "", "docker.io/a/b"),
        ("shop/frontend:2.3", "shop/frontend", "2.3", "", "docker.io/shop/frontend"),
        ("localhost/app", "localhost/app", "latest", "", "localhost/app"),
        ("localhost:5000/app", "localhost:5000/app", "latest", "", "localhost:5000/app"),
        ("reg.example:5000/a/b/c:v1", "reg.example:5000/a/b/c", "v1", "", "reg.example:5000/a/b/c"),
        ("ghcr.io/x/y", "ghcr.io/x/y", "latest", "", "ghcr.io/x/y"),
        ("REG/app", "REG/app", "latest", "", "REG/app"),
        ("[fd00::1]:5000/app:1", "[fd00::1]:5000/app", "1", "", "[fd00::1]:5000/app"),
        (f"nginx@{DIGEST}", "nginx", "", DIGEST, "docker.io/library/nginx"),
        (f"nginx:1.25@{DIGEST}", "nginx", "1.25", DIGEST, "docker.io/library/nginx"),
        (f"r.io:1/a@{DIGEST}", "r.io:1/a", "", DIGEST, "r.io:1/a"),
        ("a/b--c__d.e", "a/b--c__d.e", "latest", "", "docker.io/a/b--c__d.e"),
    ],
)
def test_names(text: str, name: str, tag: str, digest: str, full: str) -> None:
    parsed = parse_image(text)
    assert (parsed.name(), parsed.tag, parsed.digest) == (name, tag, digest)
    assert parsed.full_name() == full == full_name(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "/", "a//b", "a:", ":tag", "a@", "Nginx", "a b", "a:b:c/d e", "-a", "a-"),
        *("a/../b", "nginx@sha256:xyz", "x" * 600, "a:" + "t" * 129, "a\nb", DIGEST),
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"image|malformed"):
        parse_image(text)


def test_ids_are_told_from_names() -> None:
    full = "sha256:" + "cafe" * 16
    assert image_id(full) == "cafe" * 16
    assert image_id("cafecafecafe") == "cafecafecafe"
    assert image_id("cafe") == ""
    assert is_id_of("cafecafecafe", full)
    assert not is_id_of("beefbeefbeef", full)
    assert not is_id_of("nginx", full)


def test_a_container_is_named_by_what_it_was_started_with() -> None:
    full = "sha256:" + "cafe" * 16
    assert name_image("shop/web:2", full, ("other:1",)).name() == "shop/web"
    assert name_image(full, full, ("shop/web:2",)).name() == "shop/web"
    assert name_image("cafecafecafe", full, ("shop/web:2",)).tag == "2"
    assert name_image(full, full, ("<none>:<none>", f"shop/web@{DIGEST}")).digest == DIGEST


def test_an_image_without_a_name_has_its_short_id() -> None:
    full = "sha256:" + "cafe" * 16
    unnamed = name_image(full, full)
    assert (unnamed.name(), unnamed.tag, unnamed.digest) == ("cafecafecafe", "", full)
    assert name_image("", "").name() == "unknown"


@given(st.text(max_size=80), st.text(max_size=80))
def test_naming_never_fails(reference: str, full_id: str) -> None:
    assert name_image(reference, full_id).name()


@given(st.text(alphabet="abc019./:@_-[]", max_size=40))
def test_a_full_name_is_its_own_full_name(text: str) -> None:
    try:
        full = full_name(text)
    except ValueError:
        return
    assert full_name(full) == full

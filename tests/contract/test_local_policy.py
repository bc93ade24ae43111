"""A policy file as people change it: by hand, by replacing it, wrongly, and not at all."""

import asyncio
import os
from pathlib import Path

import pytest

from cnnf.defender.local_policy import LocalPolicy
from cnnf.policy.compiled import Compiled
from cnnf.policy.errors import InvalidValueError, PolicyError
from cnnf.policy.limits import FORM_BYTES_MAX

TEXT = """\
apiVersion: cnnf/v1
networkObjects:
  - {name: shop, type: image, values: ["shop/*"]}
rules:
  containers:
    - {name: closed, destination: [shop], effect: EFFECT}
"""
PREVENT, ALERT = TEXT.replace("EFFECT", "prevent"), TEXT.replace("EFFECT", "alert")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a rule that prevents."""
    path = tmp_path / "policy.yaml"
    path.write_text(PREVENT)
    return path


def test_it_is_read_whole_and_compiled(path: Path) -> None:
    policy = LocalPolicy(path)
    (rule,) = policy.read().rules
    assert (rule.name, rule.effect) == ("closed", "prevent")
    assert not policy.changed()


def test_it_is_another_before_it_was_read(path: Path) -> None:
    assert LocalPolicy(path).changed()


def test_every_way_to_change_it_is_seen(path: Path) -> None:
    policy = LocalPolicy(path)
    policy.read()
    # Written in place.
    path.write_text(ALERT + "# more\n")
    assert policy.changed()
    assert policy.read().rules[0].effect == "alert"
    # Replaced, as editors and configuration management do, by one as long and as old.
    before = path.stat()
    other = path.with_name("other")
    other.write_text(PREVENT.replace("prevent", "alert  ") + "# more\n"[: before.st_size])
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert policy.changed()
    policy.read()
    # Taken away, and put back.
    kept = path.rename(path.with_name("kept"))
    assert policy.changed()
    kept.rename(path)
    assert not policy.changed()


def test_one_that_is_gone_says_so_once(path: Path) -> None:
    policy = LocalPolicy(path)
    policy.read()
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        policy.read()
    assert caught.value.filename == str(path)
    # It is told once, not every second.
    assert not policy.changed()
    path.write_text(PREVENT)
    assert policy.changed()


def test_one_that_is_wrong_says_where_and_is_not_read_again(path: Path) -> None:
    policy = LocalPolicy(path)
    path.write_text(TEXT)
    with pytest.raises(PolicyError, match=rf"{path}:6:\d+: .*EFFECT"):
        policy.read()
    assert not policy.changed()


def test_one_that_is_too_large_is_refused_before_it_is_understood(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(FORM_BYTES_MAX + 1)
    with pytest.raises(InvalidValueError, match="a policy is smaller"):
        LocalPolicy(path).read()


def test_a_directory_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        LocalPolicy(tmp_path).read()


def test_a_rule_by_name_is_taken(path: Path) -> None:
    dns = '  - {name: pay, type: dns, values: ["*.pay.example"]}\nrules:'
    path.write_text(PREVENT.replace("rules:", dns).replace("[shop], effect", "[pay], effect"))
    assert "dns" in LocalPolicy(path).read().uses
    path.write_text(PREVENT.replace("rules:", dns))
    assert len(LocalPolicy(path).read().rules) == 1


def test_a_rule_that_expires_is_taken_out_whatever_the_file_is(path: Path) -> None:
    path.write_text(PREVENT.replace("prevent", "prevent, expires: 1970-01-02"))
    clock_ms = [86_399_999]
    policy = LocalPolicy(path, lambda: clock_ms[0])
    applied: list[int] = []

    async def follow() -> None:
        news, over = asyncio.Event(), asyncio.Event()
        news.set()

        async def apply(compiled: Compiled) -> None:
            applied.append(len(compiled.rules))
            # The day ends while it is put in force.
            clock_ms[0] = 86_400_000
            if len(applied) == 2:
                over.set()

        following = asyncio.create_task(
            policy.follow(news, apply, lambda _code, _text: None, lambda _code: None)
        )
        async with asyncio.timeout(10):
            await over.wait()
        following.cancel()

    asyncio.run(follow())
    assert applied == [1, 0]
    assert not policy.ended()

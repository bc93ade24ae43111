"""Answers go when the loops know them; told in order, one round at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import wraps

from cnnf.defender.core.limits import ANSWER_HOLD_MS
from cnnf.defender.core.memberships import Membership
from cnnf.defender.held_answers import HeldAnswers
from cnnf.policy.rulesets import NOTHING, Selected

POD, API = bytes([10, 1, 0, 4]), bytes([203, 0, 113, 7])
COMES = Membership(POD, API, Selected(0, 1))
GOES = Membership(POD, API, NOTHING, Selected(0, 1))


class Stage:
    """Loops and a queue, and what happens to them in its order; the test says when loops know."""

    def __init__(self) -> None:
        self.held = HeldAnswers(self._tell, self._heard, self._release)
        self.happened: list[object] = []
        self._asked: list[asyncio.Future[bool]] = []

    def _tell(self, memberships: list[Membership]) -> None:
        self.happened.append(("told", memberships))

    async def _heard(self, within_seconds: float) -> bool:
        assert within_seconds == ANSWER_HOLD_MS / 1_000
        self._asked.append(asyncio.get_running_loop().create_future())
        return await self._asked[-1]

    def _release(self, ids: Iterable[int]) -> int:
        self.happened.append(("let go", gone := list(ids)))
        return len(gone)

    async def confirm(self, heard: bool = True) -> None:
        """All loops know what they were told, or have not said so in time."""
        self._asked.pop(0).set_result(heard)
        await self.turn()

    async def turn(self) -> None:
        """Let everybody go on until he waits."""
        for _ in range(5):
            await asyncio.sleep(0)

    def since(self) -> list[object]:
        """What has happened since the last time."""
        happened, self.happened = self.happened, []
        return happened


def scripted(script: Callable[[Stage], Coroutine[None, None, None]]) -> Callable[[], None]:
    @wraps(script)
    def run() -> None:
        async def whole() -> None:
            await script(Stage())

        asyncio.run(whole())

    del run.__wrapped__
    return run


@scripted
async def test_what_says_nothing_new_does_not_wait(stage: Stage) -> None:
    stage.held.hold([1, 2], [])
    assert stage.since() == [("let go", [1, 2])]


@scripted
async def test_an_answer_waits_until_the_loops_know_it(stage: Stage) -> None:
    stage.held.hold([1], [COMES])
    await stage.turn()
    assert stage.since() == [("told", [COMES])]
    await stage.confirm()
    assert stage.since() == [("let go", [1])]
    assert stage.held.hasty == 0


@scripted
async def test_what_comes_meanwhile_goes_together(stage: Stage) -> None:
    stage.held.hold([1], [COMES])
    await stage.turn()
    # The same answer once more, which says nothing new, waits too; and the loops are not told yet.
    stage.held.hold([2], [])
    stage.held.hold([3], [GOES])
    stage.held.hold([4], [COMES])
    await stage.turn()
    assert stage.since() == [("told", [COMES])]
    await stage.confirm()
    assert stage.since() == [("let go", [1]), ("told", [GOES, COMES])]
    await stage.confirm()
    assert stage.since() == [("let go", [2, 3, 4])]
    stage.held.hold([5], [])
    assert stage.since() == [("let go", [5])]


@scripted
async def test_what_is_told_at_once_does_not_overtake(stage: Stage) -> None:
    stage.held.hold([1], [])
    stage.held.hold([2], [COMES])
    await stage.turn()
    stage.held.hold([3], [COMES])
    stage.held.tell([GOES])
    assert stage.since() == [("let go", [1]), ("told", [COMES]), ("told", [COMES, GOES])]
    await stage.confirm()
    # Nothing is left to tell, but the third waits until what was told is known.
    assert stage.since() == [("let go", [2])]
    await stage.confirm()
    assert stage.since() == [("let go", [3])]
    stage.held.tell([])
    assert stage.since() == []


@scripted
async def test_what_went_unheard_is_counted(stage: Stage) -> None:
    stage.held.hold([1, 2], [COMES])
    await stage.turn()
    await stage.confirm(heard=False)
    assert stage.since() == [("told", [COMES]), ("let go", [1, 2])]
    assert stage.held.hasty == 2


@scripted
async def test_the_end_lets_go(stage: Stage) -> None:
    stage.held.hold([1], [COMES])
    await stage.turn()
    stage.held.stop()
    await stage.turn()
    assert stage.since() == [("told", [COMES]), ("let go", [1])]

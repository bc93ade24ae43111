"""What a plan says by itself."""

from tests.unit.defender.core.plans import plan


def test_the_queue_of_answers_is_the_one_after_the_loops() -> None:
    given = plan(queue_first=8030, queue_count=2, answer_queue=8032)
    assert given.queues == range(8030, 8033)
    assert plan(queue_first=8030, queue_count=2).queues == range(8030, 8032)

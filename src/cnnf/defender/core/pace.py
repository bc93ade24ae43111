"""How fast to work through what can wait, so that whoever makes it is not slowed down by it."""

from cnnf.defender.core.limits import NAMING_PAUSE_SECONDS_MAX, NAMING_SHARE, PENDING_FLOWS_MAX


def pause(worked: float, waiting: int) -> float:
    """Seconds to wait after so many seconds of work, with so many flows waiting for their turn.

    None when a quarter of those that can wait do: nothing may be lost for the sake of manners.
    """
    if waiting > PENDING_FLOWS_MAX // 4:
        return 0.0
    return min(worked * (1 / NAMING_SHARE - 1), NAMING_PAUSE_SECONDS_MAX)

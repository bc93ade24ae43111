"""What all other tests of this folder have made, in sum: nothing came late, or once more."""

import time

import pytest

from cnnf.console.limits import LEDGER_MARGIN_MS
from tests.estate.conftest import Cast, Estate, agreed
from tests.lab.lab import Line
from tests.lab.truth import Edge, app

pytestmark = pytest.mark.docker

#: A Defender that has nothing to tell says so.
HEARTBEAT_S = 10.0


def test_what_is_on_radar_is_what_was_made(estate: Estate, cast: Cast) -> None:
    api = estate.beta.address
    edge = Edge(app("lab/web"), app("lab/api"), 8080)
    agreed(
        estate.lab.outcome([Line("the last", cast.web, api, 18080, 9, edge, cast.api.name)]).wrong
    )
    # What the destination's Defender has told and the source's has not is drawn after so long.
    time.sleep(LEDGER_MARGIN_MS / 1000 + HEARTBEAT_S)
    # What was nobody's while containers came and went stays so; nothing is anybody else's.
    agreed(estate.lab.whole().credited)

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.messages import Outgoing
from tests.brokers import DEADLINE_S, Mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(__file__).parents[2] / "config" / "mosquitto" / "mosquitto.conf"
# What belongs to one machine, and is given by the test instead.
MACHINE = ("listener", "allow_anonymous", "password_file", "persistence", "persistence_location")


def settings() -> str:
    lines = [line for line in SHIPPED.read_text().splitlines() if line and not line.startswith("#")]
    kept = [line for line in lines if re.split(r"\s", line)[0] not in MACHINE]
    return "\n".join(["allow_anonymous true", *kept]) + "\n"


@pytest.mark.broker
def test_a_killed_broker_with_the_shipped_configuration_still_has_what_it_acknowledged(
    tmp_path: Path, make_client: Callable[..., Any]
) -> None:
    broker = Mosquitto(tmp_path / "mosquitto", settings())
    broker.start()
    try:
        make_client(broker.port, name="away", filters={"t": 1}).bus.stop()
        speaker = make_client(broker.port, name="speaker")
        for number in range(50):
            speaker.publish(Outgoing("t", str(number).encode()))
        # The answer to one more request: the broker has come round, so what came before is written.
        speaker.bus.subscribe({"marker": 0})
        assert speaker.bus.wait_subscribed(DEADLINE_S)
        broker.kill()
        speaker.bus.stop()
        broker.start()
        back = make_client(broker.port, name="away", filters={"t": 1})
        assert [int(back.next()[0].payload) for _ in range(50)] == list(range(50))
    finally:
        broker.kill()

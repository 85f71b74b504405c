"""What a connection is opened with, tells and ends with: values, nothing else.

Knows no MQTT library and no thread.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_node.bus.receipt import Receipt
    from edge_node.config.models import BrokerConfig
    from edge_node.errors import BusError
    from edge_node.messages import Message, Outgoing


def always_open(_command_id: str) -> AbstractContextManager[bool]:
    """Give True: where nothing can stop a command."""
    return nullcontext(enter_result=True)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message on its way to the broker; exactly one of both callbacks is called.

    Attributes:
        outgoing: The message.
        acknowledged: Called once the broker has it; at quality of service 0, once it was handed over.
        failed: Called with the reason where the broker refused it or the connection ended before.
    """

    outgoing: Outgoing
    acknowledged: Callable[[], None]
    failed: Callable[[BusError], None]


@dataclass(frozen=True, slots=True)
class Events:
    """Whom a connection tells; all are called on its thread, must be short and must not raise.

    Attributes:
        opened: The broker let the client in; whether it still knew the session.
        received: A message came, with the right to acknowledge it.
        subscribed: The broker answered for these filters; the reason of a refusal, or empty.
        beat: The thread came round; at least once a second.
    """

    opened: Callable[[bool], None]
    received: Callable[[Message, Receipt], None]
    subscribed: Callable[[Mapping[str, str]], None]
    beat: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a connection is opened.

    Attributes:
        broker: The broker as configured.
        protocol: `5` or `3.1.1`, whichever is to be tried.
        client_id: Identifier of the session.
        will: What the broker publishes when this client vanishes, or None.
        max_payload_bytes: A larger payload is dropped on arrival and only its size is told.
        epoch: Number of the connection.
        clock: Wall clock, seconds since the epoch.
        leaving: Gives whether a command may leave, by its identifier, and holds that while it does.
    """

    broker: BrokerConfig
    protocol: str
    client_id: str
    will: Outgoing | None
    max_payload_bytes: int
    epoch: int
    clock: Callable[[], float]
    leaving: Callable[[str], AbstractContextManager[bool]] = always_open

    @property
    def address(self) -> str:
        """Host and port, as errors name them."""
        return f"{self.broker.host}:{self.broker.port}"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is over.

    Attributes:
        reason: In a few words.
        opened: Whether the broker had let the client in.
        refused: Whether it answered with a no.
        final: Whether the same words would get the same no.
        unsupported: Whether it said no to the protocol version.
        silent: Whether it closed the connection without an answer, as brokers do that do not know version 5.
    """

    reason: str
    opened: bool = False
    refused: bool = False
    final: bool = False
    unsupported: bool = False
    silent: bool = False

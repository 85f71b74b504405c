"""What an acknowledgement needs; knows nothing of connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Receipt:
    """The right to acknowledge one delivery, valid for the connection it came on.

    Attributes:
        mid: Packet identifier; brokers use it again on the next connection.
        qos: Quality of service of the delivery; 0 needs no acknowledgement.
        epoch: Number of the connection.
    """

    mid: int
    qos: int
    epoch: int

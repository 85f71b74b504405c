"""As many messages under way to a receiver as it takes to keep it busy, and never one more.

Knows a feed and the reports of a receiver; does not know what is done with a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from edge_node.bench.feed import Feed

if TYPE_CHECKING:
    import threading
    from types import TracebackType

    from edge_node.bench.receiver import Receiver
    from edge_node.bench.reports import Report

UNDER_WAY = 800
"""Less than the 1000 that the runtime's queues hold by default, so that nothing is dropped."""
REPORT_S = 30.0
_LATE_S = 10.0


class Pressure:
    """A feed that follows its receiver; use it in a `with` block.

    Args:
        receiver: Whose reports are followed.
        host: Where the broker listens.
        port: Its port.
        topic: Topic with `{pump}` in place of the device.
        qos: Quality of service, 0 or 1.

    Attributes:
        first: The report before anything was published.
        last: The newest report.
    """

    def __init__(self, receiver: Receiver, *, host: str, port: int, topic: str, qos: int) -> None:
        self._receiver = receiver
        self._feed = Feed(host, port=port, topic=topic, qos=qos)

    def __enter__(self) -> Self:
        self._feed.__enter__()
        self.first: Report = self._receiver.next_report(timeout_s=REPORT_S)
        self.last = self.first
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feed.__exit__(kind, error, trace)

    @property
    def sent(self) -> int:
        """How many were published."""
        return self._feed.sent

    @property
    def handled(self) -> int:
        """How many the receiver is done with."""
        return self.last.handled - self.first.handled

    @property
    def seconds(self) -> float:
        """Time between the first and the last report."""
        return self.last.at_s - self.first.at_s

    def keep_up(self, *, seconds: float, until: threading.Event | None = None) -> None:
        """Keep the receiver busy for so long, or until an event is set.

        Raises:
            SiteNotReady: The receiver has fallen silent.
            BrokerUnreachable: The broker has gone.
        """
        while self.seconds < seconds and not (until and until.is_set()):
            gone = self.handled + self.last.dropped - self.first.dropped
            self._feed.publish(max(0, UNDER_WAY - (self.sent - gone)))
            self.last = self._receiver.next_report(timeout_s=REPORT_S)

    def drain(self) -> None:
        """Wait until the receiver is done with all that was published; what takes too long is lost."""
        ended_s = self.last.at_s
        while self.handled < self.sent and self.last.at_s - ended_s < _LATE_S:
            self.last = self._receiver.next_report(timeout_s=REPORT_S)

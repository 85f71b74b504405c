"""A broker that ships, for demonstrations and tests: the one door to iotcore.

Knows how the broker inside iotcore is configured and started; knows nothing of what is published. It
keeps nothing over its end, and delivers at the quality of service of the subscription even what was
published at 0: production wants a broker that does neither. It also drops a 3.1.1 connection to which it
has to deliver what was published with MQTT 5 properties, as all that edge_node publishes is: speak MQTT 5
to it wherever you listen.
"""

from __future__ import annotations

import importlib
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edge_node.errors import BrokerUnreachable, Unavailable

if TYPE_CHECKING:
    from types import TracebackType

_HOST = "127.0.0.1"
_LARGEST_PAYLOAD_BYTES = 64 * 1024 * 1024
_START_S = 20.0
_CONFIGURATION = """\
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = {segment}
max_segment_count = 10

[v4.1]
name = "v4-1"
listen = "{host}:{port_v4}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 5000
max_payload_size = {payload}
max_inflight_count = 200
dynamic_filters = true

[v5.1]
name = "v5-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = {payload}
max_inflight_count = 200
dynamic_filters = true
"""


@dataclass(frozen=True, slots=True)
class EmbeddedBroker:
    """A running broker on this machine only; `stop`, or the end of a `with`, ends it.

    Attributes:
        port: Port for MQTT 5.
        port_v4: Port for MQTT 3.1.1, which the mosquitto tools speak if not told otherwise (`-V 5`).
    """

    port: int
    port_v4: int
    _broker: Any
    _folder: tempfile.TemporaryDirectory[str]

    @classmethod
    def start(cls, *, port: int = 0, port_v4: int = 0) -> EmbeddedBroker:
        """Return a broker that accepts connections.

        Args:
            port: Port for MQTT 5; 0 takes a free one.
            port_v4: Port for MQTT 3.1.1; 0 takes a free one.

        Raises:
            Unavailable: iotcore is not installed.
            BrokerUnreachable: A port is taken, or it does not come up.
        """
        try:
            iotcore = importlib.import_module("iotcore")
        except ImportError as problem:
            raise Unavailable("the embedded broker", hint="pip install 'edge-node[demo]'") from problem
        port, port_v4 = _ports(port, port_v4)
        folder = tempfile.TemporaryDirectory(prefix="edge-node-broker-")
        file = Path(folder.name) / "broker.toml"
        file.write_text(
            _CONFIGURATION.format(
                host=_HOST,
                port=port,
                port_v4=port_v4,
                payload=_LARGEST_PAYLOAD_BYTES,
                segment=_LARGEST_PAYLOAD_BYTES,
            ),
            encoding="utf-8",
        )
        broker = iotcore.Broker(config_path=str(file))
        try:
            broker.start(timeout=_START_S)
        except (OSError, RuntimeError) as problem:
            folder.cleanup()
            raise BrokerUnreachable(f"{_HOST}:{port}", reason=str(problem)) from problem
        return cls(port, port_v4, broker, folder)

    def stop(self) -> None:
        """End the broker and give its ports free; what it held is gone."""
        self._broker.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _ports(*wanted: int) -> tuple[int, ...]:
    """Return the ports wanted, a free one in place of each 0; all held at once, so that they differ."""
    held = []
    try:
        for port in wanted:
            held.append(socket.socket())
            if not port:
                held[-1].bind((_HOST, 0))
        return tuple(port or int(sock.getsockname()[1]) for port, sock in zip(wanted, held, strict=True))
    finally:
        for sock in held:
            sock.close()

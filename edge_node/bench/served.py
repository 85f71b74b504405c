"""The runtime, in a process of its own, as `edge-node run` starts it, but counted.

Reports how many messages have reached their end until its standard input ends.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from edge_node.bench.reports import report_until_closed
from edge_node.config.load import load
from edge_node.observe.logs import configure
from edge_node.runtime.service import Service


def main(config: str) -> None:
    """Run the service of a runtime file until standard input ends."""
    configuration = load(Path(config))
    configure(configuration.runtime.log)
    service = Service(configuration)

    def report() -> None:
        service.wait_ready()
        report_until_closed(lambda: (service.handled, service.dropped))
        service.request_stop()

    threading.Thread(target=report, name="report", daemon=True).start()
    service.run()


if __name__ == "__main__":
    main(*sys.argv[1:])

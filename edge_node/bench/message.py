"""What one message costs, stage by stage, measured on a running site.

The requests go over the broker to the runtime's own process, as anybody's would; stage times come from the
line that the runtime logs for each message.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.demo.fleet import fleet
from edge_node.demo.site import HOST, Site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_node.client import Client
    from edge_node.protocols import Progress

REQUESTS: Mapping[str, Sequence[str]] = {
    "pump-guard": (
        "slow pump two down to {number} percent",
        "how often is the drive-end bearing greased?",
        "bring the speed of number three to {number} percent please",
        "set pump one to 150 percent",
        "why does a pump shake?",
    ),
    "rover": (
        "drive rover one {small} metres forward",
        "how long does it take to charge the battery?",
        "rover one should turn left by {number} degrees",
        "send rover one to the dock",
        "what does the red light mean?",
    ),
    "manual-desk": (
        "how is the print head cleaned?",
        "what does error E07 mean?",
        "which label width fits?",
        "how do I renew my passport?",
        "how often is the machine serviced?",
    ),
}
_LONGEST_S = 120.0


class MessageBench:
    """Requests of people to the three ready nodes, one at a time.

    Args:
        folder: Where the site writes its files.
        nodes: Folder with the ready nodes.
        requests: How many go to each node.
        progress: Told how far it is.
    """

    def __init__(self, folder: Path, *, nodes: Path, requests: int, progress: Progress) -> None:
        self._folder = folder
        self._nodes = nodes
        self._requests = requests
        self._progress = progress

    def run(self) -> dict[str, Any]:
        """Return `stages_ms`, `total_ms` (p50, p95 and count), `rss_mb`, `peak_rss_mb` and `ready_s`.

        Raises:
            SiteNotReady: The runtime did not get ready.
            EdgeSilent: A request was not answered.
        """
        with Site(self._folder, nodes=self._nodes):
            pass  # The first start makes the index; the second one is measured.
        with (
            Site(self._folder, nodes=self._nodes) as site,
            fleet(host=HOST, port=site.port),
            site.client("bench") as client,
        ):
            _first_reply_ms(client, "how often is the bearing greased?", node="pump-guard")
            warm = site.log_file.stat().st_size
            totals_ms = self._ask_all(client)
            rss_mb, peak_rss_mb = _memory_mb(site.pid)
            ready_s = site.ready_s
        lines = site.log_file.read_bytes()[warm:].decode().splitlines()
        return {
            "requests": len(totals_ms),
            "stages_ms": {stage: _spread(spent) for stage, spent in _stages(lines).items()},
            "total_ms": _spread(totals_ms),
            "rss_mb": rss_mb,
            "peak_rss_mb": peak_rss_mb,
            "ready_s": round(ready_s, 2),
        }

    def _ask_all(self, client: Client) -> list[float]:
        self._progress.start("requests", len(REQUESTS) * self._requests)
        totals_ms: list[float] = []
        for node, texts in REQUESTS.items():
            for place, text in enumerate(islice(cycle(texts), self._requests)):
                said = text.format(number=20 + place % 40, small=1 + place % 4)
                totals_ms.append(_first_reply_ms(client, said, node=node))
                self._progress.advance(len(totals_ms))
        self._progress.finish()
        return totals_ms


def _first_reply_ms(client: Client, text: str, *, node: str) -> float:
    began_s = time.perf_counter()
    replies = client.ask(text, node=node, timeout_s=_LONGEST_S)
    next(replies)
    took_ms = (time.perf_counter() - began_s) * 1000
    for _ in replies:
        pass
    return took_ms


def _stages(lines: Sequence[str]) -> dict[str, list[float]]:
    """Return stage to milliseconds, from the log lines of requests."""
    spent: defaultdict[str, list[float]] = defaultdict(list)
    for said in _requests(lines):
        for stage, spent_ms in said["stages_ms"].items():
            spent[stage].append(spent_ms)
    return dict(spent)


def _requests(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("{"):
            said = json.loads(line)
            if said.get("event") == "message" and "/ask/" in said.get("topic", ""):
                yield said


def _spread(spent_ms: Sequence[float]) -> dict[str, float]:
    """Return median and 95th percentile, and how many there were."""
    if len(spent_ms) == 1:
        return {"p50": spent_ms[0], "p95": spent_ms[0], "count": 1}
    p95 = statistics.quantiles(spent_ms, n=20, method="inclusive")[-1]
    return {"p50": round(statistics.median(spent_ms), 3), "p95": round(p95, 3), "count": len(spent_ms)}


def _memory_mb(pid: int) -> tuple[float, float]:
    """Return resident memory of a process now and at most, in MB.

    Source: proc(5), VmRSS and VmHWM of /proc/PID/status, in KiB.
    """
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    )
    rss_kib, peak_kib = (int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return round(rss_kib * 1024 / 1e6, 1), round(peak_kib * 1024 / 1e6, 1)

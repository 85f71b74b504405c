"""The edge's own process in the battery: the real service, and what the world does to it from outside.

The clock may be moved, and a call named by a label may kill the process; the service itself is the one that
`edge-node run` runs. With `--serve` the libraries are loaded once, and each start is a fork, so that a start
costs what the service takes to start and not what Python takes to import it.
"""

from __future__ import annotations

import functools
import importlib
import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.battery.labels import Label

_real_time = time.time


def _move_clock(file: str) -> None:
    """Let the wall clock of this process be off by the double that stands in a file."""
    with Path(file).open("r+b") as handle:
        shared = mmap.mmap(handle.fileno(), 8)
    time.time = lambda: _real_time() + struct.unpack("d", shared)[0]


def _die_at(label: Label, *, passes: int) -> None:
    """Kill this process at the given pass of a point."""
    owner: Any = importlib.import_module(label.module)
    *outer, name = label.path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function = getattr(owner, name)
    left = [passes]
    lock = threading.Lock()

    def pass_by() -> None:
        with lock:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    def passing(*arguments: Any, **named: Any) -> Any:
        if label.before:
            pass_by()
        result = function(*arguments, **named)
        if not label.before:
            pass_by()
        return result

    setattr(owner, name, passing)


def _come_back_soon() -> None:
    """Shorten the waits between connections; a constructor argument of the bus."""
    service = importlib.import_module("edge_node.runtime.service")
    backoff = importlib.import_module("edge_node.bus.backoff").Backoff(
        random.random, first_s=0.05, longest_s=0.4
    )
    service.MqttBus = functools.partial(service.MqttBus, backoff=backoff)


def _run(order: Mapping[str, Any]) -> None:
    """Do what `edge-node run` does."""
    _come_back_soon()
    if order.get("label") is not None:
        labels = importlib.import_module("tests.battery.labels").LABELS
        _die_at(labels[order["label"]], passes=order["passes"])
    command = importlib.import_module("edge_node.cli.run").run
    command.main(["--config", order["config"]], standalone_mode=False)


def _serve() -> None:
    """Fork a run for each line of standard input; tell its process, and later how it ended."""
    importlib.import_module("edge_node.cli.run")
    say = _speaker()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _begin(order)
        say({"pid": child})
        threading.Thread(target=_bury, args=(child, say), daemon=True).start()


def _begin(order: Mapping[str, Any]) -> None:
    status = 1
    try:
        os.setsid()
        random.seed()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(number, target)
        _run(order)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def _bury(child: int, say: Callable[[Mapping[str, Any]], None]) -> None:
    _, status = os.waitpid(child, 0)
    say({"ended": child, "status": os.waitstatus_to_exitcode(status)})


def _speaker() -> Callable[[Mapping[str, Any]], None]:
    lock = threading.Lock()

    def say(what: Mapping[str, Any]) -> None:
        with lock:
            os.write(1, json.dumps(what).encode() + b"\n")

    return say


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        _serve()
    else:
        asked = json.loads(sys.argv[1])
        if asked.get("clock"):
            _move_clock(asked["clock"])
        _run(asked)

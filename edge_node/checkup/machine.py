"""The machine under an edge: Python and its packages, the clock, memory, and the service's unit.

Knows the operating system; knows no configuration.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from edge_node.checkup.findings import Finding, Level
from edge_node.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

_OLDEST, _NEWEST = (3, 11), (3, 13)
_PACKAGE = "edge-node"
_UNIT = "edge-node.service"
_NAMED = re.compile(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?")
_BUILT_AT = 1_750_000_000.0  # no clock that is right shows an earlier time
_LITTLE_MB, _TOO_LITTLE_MB = 512, 128
_ANSWER_S = 5.0
_MEMORY = Path("/proc/meminfo")
_BOOTED = Path("/run/systemd/system")
_RESTARTS = 3


def check_python() -> Finding:
    """Return whether this Python is one that edge_node runs on."""
    running = sys.version_info[:2]
    text = f"edge_node {__version__} on Python {platform.python_version()}, {platform.machine()}"
    if _OLDEST <= running <= _NEWEST:
        return Finding("python", Level.OK, text)
    wanted = f"{_OLDEST[0]}.{_OLDEST[1]} to {_NEWEST[0]}.{_NEWEST[1]}"
    return Finding(
        "python", Level.FAIL, f"{text}: expected Python {wanted}", "install it with another Python"
    )


def check_packages() -> Finding:
    """Return whether every package that edge_node needs is there, and new enough."""
    try:
        needed = [each for each in metadata.requires(_PACKAGE) or () if "extra ==" not in each]
    except metadata.PackageNotFoundError:
        text = "edge_node runs from a folder of sources; what it needs is not looked up"
        return Finding("packages", Level.WARN, text, f"pip install {_PACKAGE}")
    wrong = [trouble for each in needed if (trouble := _missing(each))]
    if wrong:
        hint = f"pip install --upgrade {_PACKAGE}"
        return Finding("packages", Level.FAIL, "; ".join(wrong), hint)
    return Finding("packages", Level.OK, f"{len(needed)} packages, all of them there")


def _missing(requirement: str) -> str:
    """Return what is wrong with a package that is needed; empty where nothing is."""
    found = _NAMED.match(requirement)
    if found is None:
        return ""
    name, least = found[1], found[2] or "0"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name}: expected {least} or later, came none"
    return (
        "" if _numbers(version) >= _numbers(least) else f"{name}: expected {least} or later, came {version}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_clock(*, latest_s: float) -> Finding:
    """Return whether the clock can be right; `latest_s` is the last time that the journal has seen."""
    now, hint = time.time(), "let systemd-timesyncd or chrony set it, and start the edge after that"
    text = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(now))
    if now < _BUILT_AT:
        return Finding("clock", Level.FAIL, f"{text}: expected a time after this program was made", hint)
    if latest_s > now + _ANSWER_S:
        text = f"{text}: the journal has seen a time {latest_s - now:.0f} s ahead, so the clock was set back"
        return Finding("clock", Level.WARN, text, hint)
    if _told(["timedatectl", "show", "--property=NTPSynchronized", "--value"]) == "no":
        return Finding("clock", Level.WARN, f"{text}, which nobody keeps right", hint)
    return Finding("clock", Level.OK, text)


def check_memory(*, runs: bool) -> Finding:
    """Return whether there is memory for an edge; less is needed where it runs already."""
    try:
        lines = _MEMORY.read_text().splitlines()
    except OSError:
        return Finding("memory", Level.WARN, f"{_MEMORY} cannot be read")
    figures = {
        name: int(value.split()[0]) // 1024 for name, _, value in (each.partition(":") for each in lines)
    }
    free_mb, all_mb = figures.get("MemAvailable", 0), figures.get("MemTotal", 0)
    text = f"{free_mb} MB of {all_mb} MB can be had"
    hint = "end other programs, or lower model.context; a language model needs a few hundred MB"
    if free_mb < _TOO_LITTLE_MB:
        return Finding("memory", Level.FAIL, text, hint)
    if free_mb < _LITTLE_MB and not runs:
        return Finding("memory", Level.WARN, text, hint)
    return Finding("memory", Level.OK, text)


def check_unit() -> Finding:
    """Return how systemd's unit of the edge stands."""
    if not _BOOTED.is_dir():
        return Finding("systemd", Level.OK, "this machine was not started by systemd")
    asked = ["systemctl", "show", _UNIT, "--property=LoadState,ActiveState,SubState,Result,NRestarts"]
    said = dict(line.split("=", 1) for line in _told(asked).splitlines() if "=" in line)
    if said.get("LoadState") != "loaded":
        return Finding("systemd", Level.OK, f"{_UNIT} is not installed")
    text = f"{_UNIT} is {said.get('ActiveState', '')} ({said.get('SubState', '')})"
    hint = f"journalctl --unit {_UNIT} --lines 50"
    if said.get("ActiveState") == "failed":
        return Finding("systemd", Level.FAIL, f"{text}: {said.get('Result', '')}", hint)
    restarts = said.get("NRestarts", "0")
    if restarts.isdecimal() and int(restarts) > _RESTARTS:
        return Finding("systemd", Level.WARN, f"{text}, restarted {restarts} times", hint)
    return Finding("systemd", Level.OK, text)


def _told(command: Sequence[str]) -> str:
    """Return what a program of the system says; nothing where it is not there or does not answer."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        ended = subprocess.run(  # noqa: S603 - a program of the system with words of this module
            [program, *command[1:]], capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout.strip()

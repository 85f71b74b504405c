"""State told to systemd.

Knows the notification protocol; does nothing where the process was not started by systemd.
"""

from __future__ import annotations

import os
import socket

import structlog

log = structlog.get_logger(__name__)


def notify(state: str) -> bool:
    """Return whether systemd was told `state`, such as `READY=1` or `WATCHDOG=1`.

    Source: sd_notify(3): a datagram to the socket named by $NOTIFY_SOCKET; `@` stands for the
    abstract namespace.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), target)
    except OSError as problem:
        log.warning("systemd_not_told", state=state, socket=address, reason=str(problem))
        return False
    return True


def watchdog_interval_s() -> float | None:
    """Return how often systemd wants to hear `WATCHDOG=1`: half of what it allows, or None.

    Source: sd_watchdog_enabled(3).
    """
    allowed_us = os.environ.get("WATCHDOG_USEC", "")
    addressed = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(allowed_us) / 2_000_000 if allowed_us.isdigit() and addressed else None

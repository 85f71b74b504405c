"""A second, plain way to say what may leave: the node files as data, and everything that happened.

Shares no code with the gate, the twin, the life of commands or the desk of operators, so that the two can be
compared. It is told what comes in, and judges every message that goes to a device.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.battery.hostile_site import CRANE, EDGE, OVEN, PRESS, RUNTIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

NODES: dict[str, dict[str, Any]] = {
    spec["name"]: spec for spec in (yaml.safe_load(text) for text in (PRESS, OVEN, CRANE))
}
ROLES = {role: set(users) for role, users in RUNTIME["operators"]["roles"].items()}
STALE_S = 20.0
EXPIRES_S = 30.0
Values = dict[str, Any]


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is(name: str, wanted: str) -> Callable[[Values], bool]:
    return lambda known: known.get(name) == wanted


def _small_or_cool(known: Values) -> bool:
    return (number(known.get("force")) and known["force"] <= 40) or _below("temp", 60)(known)


def _below(name: str, limit: float) -> Callable[[Values], bool]:
    return lambda known: number(known.get(name)) and known[name] < limit


HOLDS: dict[str, Callable[[Values], bool]] = {
    "guard == 'closed'": _is("guard", "closed"),
    "guard == 'open'": _is("guard", "open"),
    "door == 'shut'": _is("door", "shut"),
    "force <= 40 || temp < 60": _small_or_cool,
    "temp < 50": _below("temp", 50),
}
"""Conditions of `require`, each as a plain function that is true only where the condition surely holds."""
NEEDS_NOBODY: dict[str, Callable[[Values], bool]] = {
    "never": lambda _: True,
    "always": lambda _: False,
    "temp > 40": lambda known: number(known.get("temp")) and known["temp"] <= 40,
}
"""Conditions of `approve`, each as a plain function that is true only where surely nobody is needed."""


@dataclass(frozen=True)
class Cause:
    """What came in last.

    Attributes:
        kind: `order`, `alarm`, `approval`, or `other` where nothing may come of it.
        user: Who ordered or approves.
        node: The node that was asked; empty where none was named. Of an alarm, the node that heard it.
        device: Device of an alarm.
        triggers: Triggers whose conditions hold.
        command_id: Command that is approved.
        body: All that the approval says.
    """

    kind: str = "other"
    user: str = ""
    node: str = ""
    device: str = ""
    triggers: tuple[str, ...] = ()
    command_id: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """A command that was put before a person."""

    node: str
    name: str
    arguments: Mapping[str, Any]
    cause: Cause
    at: float


@dataclass
class Heard:
    """What one device has said."""

    values: dict[str, tuple[Any, float]] = field(default_factory=dict)
    spoke_at: float = -math.inf


class Law:
    """Everything that happened, and what may leave for it.

    Args:
        keys: The folder with everybody's public key.
    """

    def __init__(self, keys: Path) -> None:
        self._keys = {
            file.stem: load_pem_public_key(file.read_bytes()) for file in sorted(keys.glob("*.pub"))
        }
        self._heard: dict[tuple[str, str], Heard] = {}
        self._left: dict[tuple[str, str, str], list[float]] = {}
        self._ids: set[str] = set()
        self._counters: dict[str, int] = {}
        self.expected: dict[str, tuple[str, str, str, Any]] = {}
        self.shown: set[str] = set()
        self.waiting: dict[str, Waiting] = {}
        self.stopped = False

    def hears(self, node: str, device: str, said: Values, *, now: float, retained: bool = False) -> set[str]:
        """Take up what a device says, under the fields' own names; return those that changed."""
        heard = self._heard.setdefault((node, device), Heard())
        changed = set()
        for name, value in said.items():
            known = heard.values.get(name)
            other = known is not None and (known[0] != value or type(known[0]) is not type(value))
            if not retained and other:
                changed.add(name)
            if not retained or known is None or other:
                heard.values[name] = (value, now)
        if not retained:
            heard.spoke_at = now
            for command_id, (*whose, name, value) in self.expected.items():
                same = not isinstance(said.get(name), bool) and said.get(name) == value
                if same and whose == [node, device]:
                    self.shown.add(command_id)
        return changed

    def known(self, node: str, device: str, *, now: float) -> Values | None:
        """Return what may be relied on of a device, or None where it is not there."""
        heard = self._heard.get((node, device))
        if heard is None or now - heard.spoke_at > STALE_S:
            return None
        return {
            name: value
            for name, (value, at) in heard.values.items()
            if value is not None and now - at <= STALE_S
        }

    def puts_before(self, command_id: str, body: Mapping[str, Any], cause: Cause, *, now: float) -> None:
        """Take up that a command awaits a person."""
        waiting = Waiting(body["node"], body["command"], body["arguments"], cause, now)
        self.waiting.setdefault(command_id, waiting)

    def stops(self) -> None:
        """Take up a stop: what waited never leaves."""
        self.stopped = True
        self.waiting.clear()

    def objection(self, topic: str, payload: bytes, cause: Cause, *, now: float) -> str:
        """Return why a message to a device is outside the policy; empty where it is not: it has left."""
        if self.stopped:
            return "stopped"
        found = _command(topic, payload)
        if found is None:
            return f"no command gives {payload!r} on {topic!r}"
        node, name, arguments, command_id = found
        if command_id in self._ids:
            return f"{command_id} left before"
        reason = self._why_not(node, name, arguments, command_id=command_id, cause=cause, now=now)
        if not reason:
            self._ids.add(command_id)
            expect = NODES[node]["commands"][name].get("expect")
            if expect:
                device, value = _device(node, name, arguments), arguments[expect["equals"]]
                self.expected[command_id] = (node, device, expect["field"], value)
            self._left.setdefault((node, name, _device(node, name, arguments)), []).append(now)
        return reason

    def _why_not(
        self, node: str, name: str, arguments: Values, *, command_id: str, cause: Cause, now: float
    ) -> str:
        spec = NODES[node]["commands"][name]
        known = self.known(node, _device(node, name, arguments), now=now)
        reason = _unfit(spec, name, arguments, known) or self._too_soon(
            node, name, arguments, cause=cause, now=now
        )
        if reason or known is None:
            return reason
        approve = spec.get("approve", "never")
        by = approve if isinstance(approve, dict) else {"when": approve}
        if cause.kind == "approval":
            return self._approval(node, name, arguments, command_id, cause, by, now=now)
        if not NEEDS_NOBODY[by.get("when", "always")]({**known, **arguments}):
            return f"{name}: nobody approved"
        return _caller(node, name, arguments, cause)

    def _too_soon(self, node: str, name: str, arguments: Values, *, cause: Cause, now: float) -> str:
        # What the author wrote for an alarm does not wait; what a model chose for one does.
        if cause.kind == "alarm" and any(
            _written(node, each, name, cause) == arguments for each in cause.triggers
        ):
            return ""
        limit = NODES[node]["commands"][name].get("limit", {})
        left = self._left.get((node, name, _device(node, name, arguments)), [])
        every = float(limit.get("every", "0s")[:-1])
        if left and now - left[-1] < every:
            return f"{name}: {now - left[-1]} s after the last"
        within = sum(now - at < 3600 for at in left)
        return f"{name}: {within} within the hour" if within >= limit.get("per_hour", math.inf) else ""

    def _approval(
        self,
        node: str,
        name: str,
        arguments: Values,
        command_id: str,
        cause: Cause,
        by: Mapping[str, Any],
        *,
        now: float,
    ) -> str:
        waiting = self.waiting.pop(command_id, None)
        if waiting is None or cause.command_id != command_id:
            return f"{command_id} did not wait, or another one was approved"
        if (waiting.node, waiting.name, dict(waiting.arguments)) != (node, name, arguments):
            return f"{command_id} is not what waited"
        expires = NODES[node]["commands"][name].get("expires", f"{EXPIRES_S}s")
        if now - waiting.at >= float(expires[:-1]):
            return f"{command_id} had expired"
        may = set().union(*(ROLES[role] for role in by["by"])) if "by" in by else {"dora"}
        if cause.user not in may:
            return f"{cause.user} may not approve {name}"
        if by.get("signed") and not self._signed(cause):
            return f"{command_id} was not signed"
        return _caller(node, name, arguments, waiting.cause)

    def _signed(self, cause: Cause) -> bool:
        counter = int(cause.body["counter"])
        said = {
            "command_id": cause.command_id,
            "counter": counter,
            "edge": EDGE,
            "operation": "approve",
            "user": cause.user,
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        key: Any = self._keys[cause.user]
        try:
            key.verify(base64.b64decode(cause.body["signature"]), text)
        except InvalidSignature:
            return False
        fresh = counter > self._counters.get(cause.user, 0)
        self._counters[cause.user] = counter
        return fresh


def _unfit(spec: Mapping[str, Any], name: str, arguments: Values, known: Values | None) -> str:
    """Return what is wrong with a command and the state of its device, whoever asks for it."""
    wrong = [key for key, config in spec["args"].items() if not _good(arguments[key], config)]
    if wrong:
        return f"{name}: {wrong} with {arguments}"
    if known is None:
        return f"{name}: the device of {arguments} is not there"
    failed = [text for text in spec.get("require", ()) if not HOLDS[text]({**known, **arguments})]
    if failed:
        return f"{name}: {failed} with {known}"
    step = spec.get("limit", {}).get("step")
    now_at = known.get("pressed")
    if step and not (number(now_at) and abs(arguments["force"] - now_at) <= step):
        return f"{name}: a step from {now_at} to {arguments['force']}"
    return ""


def _written(node: str, trigger: str, command: str, cause: Cause) -> Values | None:
    """Return the arguments that a trigger itself gives a command, or None where it gives it none."""
    do = NODES[node].get("triggers", {}).get(trigger, {}).get("do", {})
    if command not in do:
        return None
    return {key: cause.device if value == "{press}" else value for key, value in do[command].items()}


def _caller(node: str, name: str, arguments: Values, cause: Cause) -> str:
    spec = NODES[node]
    if cause.node not in ("", node):
        return f"{cause.node} was asked, and {name} is of {node}"
    if cause.kind == "order":
        roles = spec["commands"][name].get("allow")
        may = roles is None or any(cause.user in ROLES[role] for role in roles)
        return "" if spec.get("ask") and may else f"{cause.user} may not order {name}"
    if cause.kind == "alarm":
        for each in cause.triggers:
            chosen = name in spec["triggers"][each].get("choose", ())
            if chosen or _written(node, each, name, cause) == arguments:
                return ""
        return f"{cause.triggers} of {cause.device} may not lead to {name}({arguments})"
    return f"nothing that came may lead to {name}"


def _command(topic: str, payload: bytes) -> tuple[str, str, Values, str] | None:
    """Return node, command, arguments and identifier of what goes to a device."""
    try:
        body = json.loads(payload)
    except ValueError:
        return None
    for node, spec in NODES.items():
        for name, command in spec["commands"].items():
            template = command["publish"]
            wanted = {
                key for key, value in template["payload"].items() if value in {f"{{{key}}}", "{command_id}"}
            }
            if not isinstance(body, dict) or body.get("do") != name or set(body) != {"do", *wanted}:
                continue
            arguments = {key: body[key] for key in wanted - {"id"}}
            device = _device(node, name, arguments)
            if topic == re.sub(r"\{\w+\}", lambda _: str(device), template["topic"]):  # noqa: B023 - used at once
                return node, name, arguments, body["id"]
    return None


def _device(node: str, name: str, arguments: Values) -> str:
    args = NODES[node]["commands"][name]["args"]
    return str(next(arguments[key] for key, config in args.items() if config.get("device")))


def _good(value: Any, config: Mapping[str, Any]) -> bool:
    kind = "string" if config.get("device") else config["type"]
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "string":
        level = bool(value) and not set(str(value)) & set("/+#\0") if config.get("device") else True
        named = "enum" not in config or value in config["enum"]
        return isinstance(value, str) and len(value) <= 256 and value.isprintable() and level and named
    whole = kind == "number" or isinstance(value, int)
    return (
        number(value)
        and whole
        and math.isfinite(value)
        and config.get("minimum", -math.inf) <= value <= config.get("maximum", math.inf)
    )

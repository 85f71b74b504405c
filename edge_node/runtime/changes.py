"""What is different between two configurations, and what of it can be taken up while the edge runs.

Knows the models of both files; reads nothing and changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_node.config.loaded import Configuration, Node
    from edge_node.config.models import RuntimeConfig

_LIVE = ("nodes", "operators", "stop", "knowledge")
"""Sections of the runtime file that are taken up; every other one needs a restart."""
_LIVE_LIMITS = ("text", "depth", "devices")
_LISTED = 8


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload takes up, and what it cannot.

    Attributes:
        added: Nodes that were not there before.
        removed: Nodes that are there no more.
        changed: Node to the keys that are different.
        settings: Keys of the runtime file that are taken up.
        restart: Keys of the runtime file that are different and count only after a restart.
        last: What was taken up last, in words; a saved file is in force before anybody asks.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] | None = None
    settings: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    last: str = ""

    @property
    def any_taken_up(self) -> bool:
        """Whether there is something to take up."""
        return bool(self.added or self.removed or self.changed or self.settings)

    @property
    def text(self) -> str:
        """What changed, in a sentence."""
        parts = [f"node {name} added" for name in self.added]
        parts += [f"node {name} removed" for name in self.removed]
        parts += [f"node {name} changed ({_listed(keys)})" for name, keys in (self.changed or {}).items()]
        parts += [_listed(self.settings)] if self.settings else []
        nothing = f"nothing to take up; last {self.last}" if self.last else "nothing to take up"
        told = "taken up: " + ", ".join(parts) if parts else nothing
        return f"{told}; a restart is needed for {_listed(self.restart)}" if self.restart else told

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**asdict(self), "changed": dict(self.changed or {})}


def compare(now: Configuration, wanted: Configuration) -> tuple[Configuration, Changes]:
    """Return the configuration that can be had without a restart, and what is different in it."""
    keys = tuple(_differences(now.runtime, wanted.runtime))
    reachable = _reachable(now.runtime, wanted.runtime)
    before = {node.name: node for node in now.nodes}
    after = {node.name: node for node in wanted.nodes}
    restart = (*_differences(reachable, wanted.runtime), *_adapters(before, after))
    changed = {
        name: tuple(_differences(before[name].spec, node.spec)) or ("folder",)
        for name, node in after.items()
        if name in before and before[name] != node
    }
    changes = Changes(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=changed,
        settings=tuple(key for key in keys if key not in restart),
        restart=restart,
    )
    return replace(wanted, runtime=reachable), changes


def _adapters(before: Mapping[str, Node], after: Mapping[str, Node]) -> Iterator[str]:
    """Yield the adapters that are named anew: they are loaded together with the model."""
    for name, node in after.items():
        known = before[name].spec.model.adapter if name in before else ""
        if node.spec.model.adapter not in ("", known):
            yield f"{name}.model.adapter"


def _reachable(now: RuntimeConfig, wanted: RuntimeConfig) -> RuntimeConfig:
    limits = {key: getattr(wanted.limits, key) for key in _LIVE_LIMITS}
    live: dict[str, Any] = {key: getattr(wanted, key) for key in _LIVE}
    return now.model_copy(update={**live, "limits": now.limits.model_copy(update=limits)})


def _differences(now: BaseModel, wanted: BaseModel) -> Iterator[str]:
    """Yield the keys that are different, two levels deep, joined by dots."""
    for key in type(now).model_fields:
        one, other = getattr(now, key), getattr(wanted, key)
        if one == other:
            continue
        inner, others = _parts(one), _parts(other)
        if not inner or not others:
            yield key
            continue
        for name in {**inner, **others}:
            if inner.get(name) != others.get(name):
                yield f"{key}.{name}"


def _parts(value: Any) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return value if isinstance(value, dict) else {}


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more

"""A stage for rehearsals of ready nodes, without a model on this machine."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_node.config.load import load_node
from edge_node.config.loaded import Configuration
from edge_node.config.models import RuntimeConfig
from edge_node.rehearsal import Props, Rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = Path(__file__).parents[2] / "nodes"


class Quiet:
    """Progress that nobody watches."""

    def start(self, label: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def finish(self) -> None: ...

    def note(self, text: str) -> None: ...


def configuration(node: str, **runtime: Any) -> Configuration:
    spec = RuntimeConfig.model_validate({"edge_node": 1, "edge": "stage", **runtime})
    return Configuration(spec, (load_node(NODES / node),), NODES)


@contextmanager
def rehearsing(node: str, **runtime: Any) -> Iterator[Rehearsal]:
    settings = configuration(node, **runtime)
    props = Props(settings, progress=Quiet())
    rehearsal = Rehearsal(settings, props=props)
    try:
        yield rehearsal
    finally:
        rehearsal.close()
        props.close()

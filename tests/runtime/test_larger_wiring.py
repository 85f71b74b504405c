from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edge_node.config.loaded import Configuration, Node
from edge_node.config.models import NodeConfig, RuntimeConfig
from edge_node.runtime.wiring import Models, _drafting
from edge_node.twin import DeviceTwin
from edge_node.understand.drafting import ModelDrafting
from edge_node.understand.larger import CircuitBreaker, LargerDrafting

if TYPE_CHECKING:
    from edge_node.protocols import Embedder, LanguageModel

# Nothing is asked of them: what is made is looked at, not run.
MODELS = Models(cast("LanguageModel", None), cast("Embedder", None))


def drafting(breaker: CircuitBreaker, **keys: Any) -> ModelDrafting | LargerDrafting:
    runtime = RuntimeConfig.model_validate({"edge_node": 1, "edge": "desk", **keys})
    nodes = tuple(
        Node(NodeConfig.model_validate({"edge_node": 1, "name": name, "model": model}), Path(name))
        for name, model in (("lamp", {}), ("lock", {"local": True}))
    )
    configuration = Configuration(runtime, nodes, Path("edge-node.yaml"))
    twin = DeviceTwin(nodes, limits=runtime.limits, clock=lambda: 0.0)
    made = _drafting(configuration, twin=twin, models=MODELS, breaker=breaker)
    assert isinstance(made, ModelDrafting | LargerDrafting)
    return made


def test_no_larger_model_is_asked_unless_the_file_names_one() -> None:
    assert isinstance(drafting(CircuitBreaker(lambda: 0.0)), ModelDrafting)


def test_a_node_that_stays_local_is_left_out() -> None:
    made = drafting(
        CircuitBreaker(lambda: 0.0), larger_model={"url": "http://127.0.0.1:11434/v1", "model": "big"}
    )
    assert isinstance(made, LargerDrafting)
    assert made._allowed == {"lamp"}


def test_a_changed_configuration_is_tried_at_once() -> None:
    breaker = CircuitBreaker(lambda: 0.0)
    breaker.failed("no connection")
    drafting(breaker, larger_model={"url": "http://127.0.0.1:11434/v1", "model": "big"})
    assert breaker.closed

"""The one place that makes concrete stages and joins them to a pipeline."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from edge_node.announcing import Announcing
from edge_node.errors import ModelCorrupt
from edge_node.gate.policy import PolicyGate
from edge_node.knowledge.library import Library
from edge_node.lifecycle import CommandLifecycle
from edge_node.model.adapted import AdaptedModel
from edge_node.model.catalogue import Catalogue
from edge_node.model.embedding import MiniLmEmbedder
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.store import ModelStore
from edge_node.operations import OperatorDesk
from edge_node.paths import models_folder, prefixes_folder
from edge_node.pipeline import Pipeline, Stages
from edge_node.runtime.preparation import Preparation
from edge_node.topics import EdgeTopics
from edge_node.triggers.engine import TriggerEngine
from edge_node.twin import DeviceTwin
from edge_node.understand.cascade import Cascade
from edge_node.understand.drafting import ModelDrafting
from edge_node.understand.prompts import openings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_node.clock import SteadyClock
    from edge_node.config.loaded import Configuration
    from edge_node.journal.journal import Journal
    from edge_node.protocols import Embedder, LanguageModel, Progress
    from edge_node.stop import StopLatch

log = structlog.get_logger(__name__)

_FEW_CORES = 2  # with more, one is left to the bus and the journal


@dataclass(frozen=True, slots=True)
class Models:
    """Both models, loaded.

    Attributes:
        language: Text to text under a grammar.
        embedder: Sentences to vectors.
        adapted: The language model with the adapters of nodes, by the nodes' names.
    """

    language: LanguageModel
    embedder: Embedder
    adapted: Mapping[str, LanguageModel] = field(default_factory=dict)


def load_models(configuration: Configuration, *, progress: Progress) -> Models:
    """Return both models of a configuration, checked against their hashes and loaded.

    A damaged file is named and repaired from what lies on this machine or from its sources.

    Raises:
        ModelMissing: A model was never fetched.
        ModelError: It cannot be repaired or run.
    """
    wanted = configuration.runtime.model
    folder = _intact(wanted.name, progress=progress)
    adapters = {
        node.name: node.folder / node.spec.model.adapter
        for node in configuration.nodes
        if node.spec.model.adapter
    }
    language = OnnxLanguageModel.open(
        folder,
        context=wanted.context,
        threads=_threads(configuration),
        prefixes=prefixes_folder(),
        prefix_bytes=wanted.prefixes,
        adapters=adapters,
    )
    adapted = {name: AdaptedModel(language, adapter=name) for name in adapters}
    return Models(language, load_embedder(configuration, progress=progress), adapted)


def load_embedder(configuration: Configuration, *, progress: Progress) -> Embedder:
    """Return the embedding model of a configuration, checked and loaded; raises as `load_models` does."""
    folder = _intact(configuration.runtime.embedding.name, progress=progress)
    return MiniLmEmbedder.open(folder, threads=_threads(configuration))


def open_library(configuration: Configuration, *, embedder: Embedder) -> Library:
    """Return the index of the manuals of a configuration, as it was last built."""
    return Library.open(configuration.state, configuration.nodes, embedder=embedder)


def read_manuals(library: Library, *, progress: Progress) -> None:
    """Bring the index up to the manuals, and name what of them it does not hold as it should."""
    report = library.build(progress=progress)
    kinds = {
        "manual_not_read": report.unreadable,
        "manual_read_with_reservation": report.notes,
        "manual_not_found": report.unmatched,
    }
    for kind, remarks in kinds.items():
        for remark in remarks:
            log.warning(kind, node=remark.node, file=remark.file, reason=remark.text)


def _threads(configuration: Configuration) -> int:
    cores = os.cpu_count() or 1
    return configuration.runtime.model.threads or (cores if cores <= _FEW_CORES else cores - 1)


def _intact(name: str, *, progress: Progress) -> Path:
    store = ModelStore(models_folder(), catalogue=Catalogue.load())
    try:
        return store.locate(name)
    except ModelCorrupt as damage:
        log.warning("model_damaged", reason=str(damage))
        return store.ensure(name, progress=progress)


@dataclass(frozen=True, slots=True)
class Assembly:
    """A pipeline and those of its parts that the service speaks to.

    Attributes:
        pipeline: The stages in order.
        announcing: Envelopes.
        lifecycle: The life of commands.
        library: The manuals.
        twin: What is known of devices.
        preparation: What has the fixed parts of prompts ready; begun once all else runs.
    """

    pipeline: Pipeline
    announcing: Announcing
    lifecycle: CommandLifecycle
    library: Library
    twin: DeviceTwin
    preparation: Preparation


def assemble(
    configuration: Configuration,
    *,
    models: Models,
    journal: Journal,
    stop: StopLatch,
    clock: SteadyClock,
) -> Assembly:
    """Return the stages of a configuration, joined."""
    runtime, nodes = configuration.runtime, configuration.nodes
    topics = EdgeTopics(runtime.edge, group=runtime.group or "")
    twin = DeviceTwin(nodes, limits=runtime.limits, clock=clock)
    lifecycle = CommandLifecycle(nodes, clock=clock)
    library = open_library(configuration, embedder=models.embedder)
    announcing = Announcing(topics, clock=clock, wall=clock.wall)
    gate = PolicyGate(nodes, twin=twin, last_issued=lifecycle.last_issued, stopped=stop.why_not, clock=clock)
    stages = Stages(
        twin=twin,
        lifecycle=lifecycle,
        operations=OperatorDesk(runtime, topics=topics, lifecycle=lifecycle, gate=gate, stop=stop, twin=twin),
        triggers=TriggerEngine(nodes, twin=twin, topics=topics, limits=runtime.limits),
        understanding=Cascade(nodes, twin=twin, embedder=models.embedder),
        retrieval=library,
        drafting=ModelDrafting(
            nodes, twin=twin, embedder=models.embedder, model=models.language, adapted=models.adapted
        ),
        gate=gate,
        announcing=announcing,
        journal=journal,
        remembering={"twin": twin},
    )
    pipeline = Pipeline(stages, passages=runtime.knowledge.passages)
    plain = [node for node in nodes if node.name not in models.adapted]
    preparation = Preparation(models.language, openings(plain))
    return Assembly(pipeline, announcing, lifecycle, library, twin, preparation)

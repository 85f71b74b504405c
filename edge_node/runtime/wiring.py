"""The one place that makes concrete stages and joins them to a pipeline."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from edge_node.announcing import Announcing
from edge_node.errors import ModelCorrupt
from edge_node.gate.policy import PolicyGate
from edge_node.journal.journal import JOURNAL_FILE, Journal
from edge_node.journal.pruning import Retention
from edge_node.knowledge.library import Library
from edge_node.lifecycle.commands import HOUR_S, CommandLifecycle
from edge_node.model.adapted import AdaptedModel
from edge_node.model.catalogue import Catalogue
from edge_node.model.chat_service import ChatService
from edge_node.model.embedding import MiniLmEmbedder
from edge_node.model.language_model import OnnxLanguageModel
from edge_node.model.manifest import read_manifest
from edge_node.model.store import ModelStore
from edge_node.operations import OperatorDesk
from edge_node.paths import models_folder, prefixes_folder
from edge_node.pipeline import Pipeline, Stages
from edge_node.protocols import Retrieval
from edge_node.runtime.adapters import adapters_of
from edge_node.runtime.model_queue import ModelQueue
from edge_node.runtime.preparation import Preparation
from edge_node.runtime.remembering import remember
from edge_node.runtime.stop_line import withdraw_leftovers
from edge_node.runtime.streams import Streams
from edge_node.signing import Signatures
from edge_node.topics import EdgeTopics
from edge_node.triggers.engine import TriggerEngine
from edge_node.twin import DeviceTwin
from edge_node.understand.cascade import Cascade
from edge_node.understand.drafting import ModelDrafting
from edge_node.understand.larger import CircuitBreaker, LargerDrafting
from edge_node.understand.prompts import openings
from edge_node.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_node.clock import SteadyClock
    from edge_node.config.loaded import Configuration, Node
    from edge_node.config.models import RuntimeConfig
    from edge_node.knowledge.building import BuildReport
    from edge_node.messages import Command, Outgoing
    from edge_node.protocols import Drafting, Embedder, LanguageModel, Progress
    from edge_node.stop import StopLatch

log = structlog.get_logger(__name__)

Manuals = TypeVar("Manuals", bound=Retrieval)
_FEW_CORES = 2  # with more, one is left to the bus and the journal


@dataclass(frozen=True, slots=True)
class Models:
    """Both models, loaded.

    Attributes:
        language: Text to text under a grammar.
        embedder: Sentences to vectors.
        adapted: The language model with the adapters of nodes, by the nodes' names.
        usual: The language model for commands of nodes that are not in `adapted`; None for the plain one.
        names: Which ones they are, with their hashes.
    """

    language: LanguageModel
    embedder: Embedder
    adapted: Mapping[str, LanguageModel] = field(default_factory=dict)
    usual: LanguageModel | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def load_models(configuration: Configuration, *, progress: Progress) -> Models:
    """Return both models of a configuration, checked against their hashes and loaded.

    A damaged file is named and repaired from what lies on this machine or from its sources.

    Raises:
        ModelMissing: A model was never fetched.
        ModelError: It cannot be repaired or run.
    """
    wanted = configuration.runtime.model
    folder = _intact(wanted.name, progress=progress)
    base = read_manifest(folder).base
    adapters = adapters_of(configuration.nodes, base=base, shipped=wanted.adapter)
    language = OnnxLanguageModel.open(
        folder,
        context=wanted.context,
        threads=_threads(configuration),
        prefixes=prefixes_folder(),
        prefix_bytes=wanted.prefixes,
        adapters=adapters.files,
    )
    by_name = {name: AdaptedModel(language, adapter=name) for name in adapters.files}
    adapted = {node: by_name[name] for node, name in adapters.of.items()}
    embedder = load_embedder(configuration, progress=progress)
    names = {"language_model": f"{wanted.name} sha256 {language.digest}", "embedding": embedder.name}
    if adapters.files:
        names["adapters"] = adapters.told()
    return Models(language, embedder, adapted=adapted, usual=by_name.get(adapters.usual), names=names)


def load_embedder(configuration: Configuration, *, progress: Progress) -> Embedder:
    """Return the embedding model of a configuration, checked and loaded; raises as `load_models` does."""
    folder = _intact(configuration.runtime.embedding.name, progress=progress)
    return MiniLmEmbedder.open(folder, threads=_threads(configuration))


def open_journal(configuration: Configuration, *, clock: Callable[[], float]) -> Journal:
    """Return the journal of a configuration, which remembers as long as that says.

    Raises:
        JournalError: It cannot be opened or was written by a newer version.
    """
    kept = configuration.runtime.journal
    retention = Retention(age_s=kept.keep, rows=kept.rows, decisions=kept.decisions)
    return Journal.open(configuration.state / JOURNAL_FILE, clock=clock, retention=retention)


def open_library(configuration: Configuration, *, embedder: Embedder) -> Library:
    """Return the index of the manuals of a configuration, as it was last built."""
    return Library.open(configuration.state, configuration.nodes, embedder=embedder)


def read_manuals(library: Library, *, progress: Progress) -> BuildReport:
    """Bring the index up to the manuals, name what it cannot hold, and return what was done."""
    report = library.build(progress=progress)
    kinds = {
        "manual_not_read": report.unreadable,
        "manual_read_with_reservation": report.notes,
        "manual_not_found": report.unmatched,
    }
    for kind, remarks in kinds.items():
        for remark in remarks:
            log.warning(kind, node=remark.node, file=remark.file, reason=remark.text)
    return report


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
class Assembly(Generic[Manuals]):
    """A pipeline and those of its parts that the service speaks to.

    Attributes:
        pipeline: The stages in order.
        announcing: Envelopes.
        lifecycle: The life of commands.
        library: The manuals.
        twin: What is known of devices.
        preparation: What has the fixed parts of prompts ready; begun once all else runs.
        verdicts: Held for each verdict, whichever configuration it is on.
        model_queue: What waits for the model, of whichever configuration.
        breaker: Keeps from asking the larger model while it is down, on whichever configuration.
    """

    pipeline: Pipeline
    announcing: Announcing
    lifecycle: CommandLifecycle
    library: Manuals
    twin: DeviceTwin
    preparation: Preparation
    verdicts: threading.Lock
    model_queue: ModelQueue[Any]
    breaker: CircuitBreaker

    def take_over(self, before: Assembly[Manuals]) -> Pipeline:
        """Return the pipeline, once it knows what the one before knows of devices and episodes."""
        self.pipeline.take_over(before.pipeline)
        return self.pipeline


def assemble(  # noqa: PLR0913 - a part each
    configuration: Configuration,
    *,
    models: Models,
    library: Manuals,
    journal: Journal,
    stop: StopLatch,
    clock: SteadyClock,
    publish: Callable[[Outgoing], None] | None = None,
    ask_reload: Callable[[str, str, str], None] | None = None,
    before: Assembly[Manuals] | None = None,
    hears_since: Callable[[], float | None] = lambda: -math.inf,
) -> Assembly[Manuals]:
    """Return the stages of a configuration, joined.

    Args:
        configuration: The configuration.
        models: Both models.
        library: The manuals.
        journal: The journal.
        stop: What an operational stop latches.
        clock: Wall clock, seconds since the epoch.
        publish: Hands a message to the broker that nobody keeps; None where there is no broker.
        ask_reload: Told the user, the correlation and the operation of who asks to have files read again.
        before: What runs now, which hands on the commands under way; the caller hands on devices and
            episodes with `take_over`, between two messages.
        hears_since: Tells since when messages have come in, by `clock`; None while they cannot.
    """
    runtime, nodes = configuration.runtime, configuration.nodes
    topics = EdgeTopics(runtime.edge, group=runtime.group or "")
    twin = DeviceTwin(nodes, limits=runtime.limits, clock=clock)
    triggers = _triggers(configuration, twin=twin, topics=topics, clock=clock, hears_since=hears_since)
    lifecycle = _lifecycle(nodes, twin=twin, clock=clock, before=before.lifecycle if before else None)
    announcing = Announcing(topics, clock=clock, wall=clock.wall)
    gate = _gate(configuration, twin=twin, lifecycle=lifecycle, stop=stop, clock=clock)
    model_queue = before.model_queue if before else _model_queue(runtime, announcing, publish, clock=clock)
    breaker = before.breaker if before else CircuitBreaker(clock)
    desk = _desk(configuration, topics=topics, stop=stop, journal=journal)
    stages = Stages(
        twin=twin,
        lifecycle=lifecycle,
        operations=desk(
            lifecycle=lifecycle, gate=gate, twin=twin, ask_reload=ask_reload, take_back=model_queue.cancel
        ),
        triggers=triggers,
        understanding=Cascade(nodes, twin=twin, embedder=models.embedder),
        retrieval=library,
        drafting=_drafting(configuration, twin=twin, models=models, breaker=breaker),
        gate=gate,
        announcing=announcing,
        journal=journal,
        remembering={"twin": twin, "triggers": triggers},
    )
    verdicts = before.verdicts if before else threading.Lock()
    pipeline = _pipeline(stages, runtime=runtime, models=models, verdicts=verdicts)
    preparation = _preparation(nodes, models=models)
    return Assembly(  # in the order of its fields
        pipeline, announcing, lifecycle, library, twin, preparation, verdicts, model_queue, breaker
    )


def _triggers(
    configuration: Configuration,
    *,
    twin: DeviceTwin,
    topics: EdgeTopics,
    clock: SteadyClock,
    hears_since: Callable[[], float | None],
) -> TriggerEngine:
    limits = configuration.runtime.limits
    return TriggerEngine(
        configuration.nodes, twin=twin, topics=topics, limits=limits, clock=clock, hears_since=hears_since
    )


def _model_queue(
    runtime: RuntimeConfig,
    announcing: Announcing,
    publish: Callable[[Outgoing], None] | None,
    *,
    clock: SteadyClock,
) -> ModelQueue[Any]:
    streams = Streams(announcing, publish=publish) if publish else None
    return ModelQueue(runtime.limits.queue, clock=clock, streams=streams)


def _desk(
    configuration: Configuration, *, topics: EdgeTopics, stop: StopLatch, journal: Journal
) -> Callable[..., OperatorDesk]:
    """Return what makes the desk of operators, which lacks only the stages it speaks to."""
    return partial(
        OperatorDesk,
        configuration.runtime,
        topics=topics,
        stop=stop,
        decisions=journal.archive,
        signatures=Signatures(configuration.keys, counters=journal),
    )


def _pipeline(
    stages: Stages, *, runtime: RuntimeConfig, models: Models, verdicts: threading.Lock
) -> Pipeline:
    return Pipeline(
        stages,
        passages=runtime.knowledge.passages,
        deadline_s=runtime.model.deadline,
        made_by=_made_by(models),
        one_at_a_time=verdicts,
    )


def _drafting(
    configuration: Configuration, *, twin: DeviceTwin, models: Models, breaker: CircuitBreaker
) -> Drafting:
    nodes, wanted = configuration.nodes, configuration.runtime.larger_model
    small = ModelDrafting(
        nodes,
        twin=twin,
        embedder=models.embedder,
        model=models.language,
        adapted={node.name: _commanding(node.name, models) for node in nodes},
    )
    # Who changes the configuration may have mended what was down.
    breaker.succeeded()
    if wanted is None:
        return small
    service = ChatService(wanted)
    allowed = [node.name for node in nodes if not node.spec.model.local]
    larger = ModelDrafting(nodes, twin=twin, embedder=models.embedder, model=service)
    return LargerDrafting(small, larger=larger, name=service.name, nodes=allowed, breaker=breaker)


def _commanding(node: str, models: Models) -> LanguageModel:
    return models.adapted.get(node) or models.usual or models.language


def _made_by(models: Models) -> dict[str, str]:
    return {"edge_node": __version__, **models.names}


def _preparation(nodes: Sequence[Node], *, models: Models) -> Preparation:
    # One model after the other: each change of the adapter gives up what was read last.
    turns = [(models.language, turn) for turn in openings([])]
    turns += [(_commanding(node.name, models), turn) for node in nodes for turn in openings([node])[:-1]]
    return Preparation(turns)


def _gate(
    configuration: Configuration,
    *,
    twin: DeviceTwin,
    lifecycle: CommandLifecycle,
    stop: StopLatch,
    clock: SteadyClock,
) -> PolicyGate:
    return PolicyGate(
        configuration.nodes,
        twin=twin,
        last_issued=lifecycle.last_issued,
        issued=lifecycle.issued,
        operators=configuration.runtime.operators,
        stopped=stop.why_not,
        clock=clock,
    )


def _lifecycle(
    nodes: Sequence[Node], *, twin: DeviceTwin, clock: SteadyClock, before: CommandLifecycle | None
) -> CommandLifecycle:
    fields = partial(_known_fields, twin)
    if before:
        return before.renewed(nodes, fields=fields)
    return CommandLifecycle(nodes, clock=clock, fields=fields)


def _known_fields(twin: DeviceTwin, node: str, device: str) -> Mapping[str, Any]:
    state = twin.state(node, device)
    return state.fields if state else {}


def take_up(
    assembly: Assembly[Manuals], *, journal: Journal, stop: StopLatch, now: float
) -> tuple[Command, ...]:
    """Return the commands that ended with the last run; what it left open and knew goes on in this one."""
    ended = (*journal.recover(), *withdraw_leftovers(stop, journal=journal))
    assembly.lifecycle.restore(journal.open_commands(ended_since=now - HOUR_S))
    ended = assembly.lifecycle.withdraw(ended)
    remember(assembly.pipeline, twin=assembly.twin, journal=journal, now=now)
    return ended

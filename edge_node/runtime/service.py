"""One running edge: what is started in which order, what a message meets on its way in, and the end.

Knows threads, the broker's callbacks and systemd; knows nothing of how anything is decided.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog

from edge_node.bus.client import Listeners, MqttBus
from edge_node.clock import SteadyClock
from edge_node.identifiers import new_id
from edge_node.observe.progress import LoggedProgress
from edge_node.observe.systemd import notify, watchdog_interval_s
from edge_node.runtime.alerts import Alerts
from edge_node.runtime.backlog import Backlog
from edge_node.runtime.claims import Claims
from edge_node.runtime.dispatcher import Dispatcher
from edge_node.runtime.hearing import Hearing
from edge_node.runtime.probe import Probe
from edge_node.runtime.publisher import Publisher
from edge_node.runtime.reloading import Outcome, Reloading, Wish, answer
from edge_node.runtime.remembering import save
from edge_node.runtime.standing import Standing, description, refusals, status
from edge_node.runtime.state_lock import StateLock
from edge_node.runtime.stop_line import StopLine
from edge_node.runtime.troubles import Troubles
from edge_node.runtime.wiring import assemble, load_models, open_journal, open_library, read_manuals, take_up
from edge_node.stop import Outlet, StopFile, StopLatch
from edge_node.topics import EdgeTopics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.bus.receipt import Receipt
    from edge_node.config.loaded import Configuration
    from edge_node.errors import BrokerRefused
    from edge_node.knowledge.building import BuildReport
    from edge_node.knowledge.library import Library
    from edge_node.messages import Command, Message
    from edge_node.runtime.wiring import Assembly

log = structlog.get_logger(__name__)

_DRAIN_S = 10.0
_STUCK_S = 120.0
_HEARTBEAT_S = 1.0
_TURN_S = 0.001


class Service:
    """The runtime of one configuration."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._topics = EdgeTopics(configuration.runtime.edge, group=configuration.runtime.group or "")
        self._boot = new_id()
        self._clock = SteadyClock()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._refusal: BrokerRefused | None = None
        self._reloading = Reloading(
            configuration,
            take_up=self._take_up,
            answer=self._answer,
            read_manuals=self._read_manuals,
            refresh=lambda: self._assembly.library.refresh(),  # noqa: PLW0108 - it is made later
        )

    def run(self) -> None:
        """Start, serve until `request_stop`, and end in order.

        Raises:
            StateInUse: Another service runs on the same state folder.
            ModelError: A model is missing and cannot be had.
            JournalError: The journal cannot be opened.
            BrokerRefused: The broker does not let this edge in, and asking again cannot help.
        """
        began_s = time.monotonic()
        lock = StateLock.take(self._configuration.state)
        try:
            self._serve(began_s)
        finally:
            lock.release()
        if self._refusal is not None:
            raise self._refusal

    def _serve(self, began_s: float) -> None:
        self._prepare()
        try:
            self._open_for_business()
            log.info("running", edge=self._topics.edge, start_s=round(time.monotonic() - began_s, 2))
            self._watch()
        finally:
            self._close()

    def request_stop(self) -> None:
        """Let `run` end; may be called from any thread and from a signal handler."""
        self._stop.set()

    def request_reload(self) -> None:
        """Have the files read again and taken up; may be called from any thread and a signal handler."""
        self._reloading.request()

    def wait_ready(self) -> None:
        """Return once everything runs."""
        self._ready.wait()

    @property
    def handled(self) -> int:
        """How many messages have reached their end since it got ready."""
        return self._dispatcher.handled

    @property
    def dropped(self) -> int:
        """How many readings were let go since then, because they came faster than they could be read."""
        return self._backlog.dropped

    def _prepare(self) -> None:
        """Open what lies on the disk and load the models; nothing is heard yet."""
        runtime, clock = self._configuration.runtime, self._clock
        notify("STATUS=loading")
        self._outlet = Outlet()
        # Read before anything is subscribed: what was stopped before a restart is stopped after it.
        self._latch = StopLatch(
            StopFile(self._configuration.state), outlet=self._outlet, boot=self._boot, clock=clock
        )
        self._bus = MqttBus(
            runtime.broker,
            client_id=f"edge-node-{runtime.edge}",
            listeners=Listeners(
                message=self._receive, connected=self._on_connected, refused=self._on_refused
            ),
            will=status(self._topics, "lost"),
            max_payload_bytes=runtime.limits.payload,
            clock=clock,
            leaving=self._outlet.leaving,
        )
        self._standing = Standing(
            self._topics, bus=self._bus, about=self._about, is_stopped=lambda: self._latch.record.stopped
        )
        self._probe = Probe(self._topics.probe(self._boot), bus=self._bus)
        self._models = load_models(self._configuration, progress=LoggedProgress())
        self._journal = open_journal(self._configuration, clock=clock)
        self._assembly = self._assemble(self._configuration)
        self._read_manuals()
        self._prepare_exit()
        self._prepare_entry()

    def _assemble(
        self, configuration: Configuration, *, before: Assembly[Library] | None = None
    ) -> Assembly[Library]:
        return assemble(
            configuration,
            models=self._models,
            library=before.library if before else open_library(configuration, embedder=self._models.embedder),
            journal=self._journal,
            stop=self._latch,
            clock=self._clock,
            publish=self._bus.publish,
            ask_reload=self._reloading.request,
            before=before,
            hears_since=lambda: self._hearing.since,
        )

    def _read_manuals(self) -> BuildReport:
        self._assembly.library.use(self._configuration.nodes)
        return read_manuals(self._assembly.library, progress=LoggedProgress())

    def _prepare_exit(self) -> None:
        """Make what lets commands out, and what stops them."""
        runtime = self._configuration.runtime
        self._stop_line = StopLine(
            self._latch,
            outlet=self._outlet,
            announcing=self._assembly.announcing,
            connect=lambda listeners: MqttBus(
                runtime.broker, client_id=f"edge-node-{runtime.edge}-stop", listeners=listeners
            ),
            on_change=lambda: self._publisher.wake(),  # noqa: PLW0108 - it is made after this
        )
        self._publisher = Publisher(
            self._journal,
            bus=self._bus,
            on_delivered=self._on_delivered,
            on_unknown=self._on_unknown,
            outlet=self._outlet,
            stop_line=self._stop_line,
            on_withdrawn=self._on_withdrawn,
        )

    def _prepare_entry(self) -> None:
        """Make what takes messages in and walks them down the path, and what looks after it."""
        runtime, clock = self._configuration.runtime, self._clock
        self._backlog = Backlog(
            runtime.limits.queue,
            from_person=lambda message: self._topics.asking_user(message.topic) is not None,
        )
        self._hearing = Hearing(
            self._configuration,
            boot=self._boot,
            bus=self._bus,
            journal=self._journal,
            clock=clock,
            on_reading=self._backlog.put,
            on_settled=self._judge,
        )
        self._claims = Claims(
            self._topics,
            inbox=self._journal,
            bus=self._bus,
            limits=runtime.limits,
            on_mine=self._backlog.put,
        )
        self._dispatcher = Dispatcher(
            self._assembly.pipeline,
            backlog=self._backlog,
            unfinished=lambda: tuple(filter(self._claims.mine, self._journal.unfinished())),
            on_concluded=self._publisher.wake,
            clock=clock,
            model_queue=self._assembly.model_queue,
            save_s=runtime.memory.save,
            on_message=self._assembly.library.hear,
        )
        self._troubles = Troubles(
            alerts=Alerts(self._assembly.announcing, publish=self._bus.publish, clock=clock),
            bus=self._bus,
            stop_line=self._stop_line,
            backlog=self._backlog,
            dispatcher=self._dispatcher,
            twin=self._assembly.twin,
            journal=self._journal,
            reloading=self._reloading,
            breaker=self._assembly.breaker,
        )

    def _open_for_business(self) -> None:
        """Settle what a crash left open, then listen."""
        # A stop takes several turns with the interpreter, and behind busy threads it waits so long for each.
        sys.setswitchinterval(_TURN_S)
        now = self._clock()
        self._tell(take_up(self._assembly, journal=self._journal, stop=self._latch, now=now))
        self._hearing.begin()
        self._claims.restore()
        self._dispatcher.start()
        self._publisher.start()
        self._stop_line.start()
        self._hearing.readings.start()
        self._bus.start()
        # What was loaded stays. Left to the collector, it would be walked over again and again.
        gc.collect()
        gc.freeze()
        self._reloading.start()
        self._ready.set()
        self._assembly.preparation.start()
        notify("READY=1\nSTATUS=running")

    # A reload, on a thread of its own.

    def _take_up(self, configuration: Configuration) -> None:
        """Make another configuration the one in force, between two messages."""
        before = self._assembly
        assembly = self._assemble(configuration, before=before)
        self._hearing.expect(configuration)
        self._dispatcher.exchange(lambda: assembly.take_over(before))
        self._assembly, self._configuration = assembly, configuration
        before.preparation.stop()
        assembly.preparation.start()
        self._troubles.twin = assembly.twin
        # Not before: what comes on a new topic must meet the nodes that listen there.
        self._hearing.change(configuration)
        self._standing.tell()

    def _answer(self, wish: Wish, outcome: Outcome) -> None:
        self._journal.conclude(None, outgoing=answer(wish, outcome, self._assembly.announcing))
        self._publisher.wake()

    # The first hop, on the network thread: into the journal, then acknowledged. Nothing else.

    def _receive(self, message: Message, receipt: Receipt) -> None:
        if message.topic == self._probe.topic:
            self._bus.acknowledge(receipt)
            self._probe.hear()
            self._judge()
            return
        is_claim = self._topics.claimed(message.topic) is not None
        go_on = self._claims.hear if is_claim else self._claims.take

        def take() -> None:
            self._bus.acknowledge(receipt)
            go_on(message)

        self._journal.receive(
            message,
            on_durable=take,
            on_duplicate=lambda: self._bus.acknowledge(receipt),
            ended=is_claim,
        )

    def _on_connected(self, session_present: bool) -> None:  # noqa: FBT001 - a callback
        log.info("connected", session_present=session_present)
        self._standing.begin()
        self._probe.send()
        self._claims.renew()
        self._publisher.wake()

    def _judge(self) -> None:
        """Say how this edge stands, once it is known whether the broker lets it speak and hear."""
        if not (self._probe.settled and self._hearing.readings.settled):
            return
        refused = refusals(self._bus.refused_filters)
        self._standing.judge(
            [*filter(None, [self._probe.trouble]), *refused, *self._hearing.readings.troubles]
        )

    def _on_refused(self, refusal: BrokerRefused) -> None:
        self._refusal = refusal
        self._stop.set()

    def _on_delivered(self, command_id: str) -> None:
        command = self._assembly.lifecycle.acknowledged(command_id)
        if command is not None:
            self._tell([command])

    def _on_unknown(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self._assembly.lifecycle.uncertain(command.id)
        self._tell(self._assembly.lifecycle.withdraw(commands))

    def _on_withdrawn(self, commands: Sequence[Command]) -> None:
        self._tell(self._assembly.lifecycle.withdraw(commands))

    def _tell(self, commands: Sequence[Command]) -> None:
        """Write down and announce commands whose state changed outside the path of a message."""
        if commands:
            self._assembly.pipeline.follow(commands)
            told = self._assembly.announcing.outgoing((), commands)
            self._journal.conclude(None, commands=commands, outgoing=told)
            self._publisher.wake()

    def _watch(self) -> None:
        """Tell systemd that all threads run, for as long as they do."""
        interval_s = min(watchdog_interval_s() or _HEARTBEAT_S, _HEARTBEAT_S)
        disk_failed = False
        while not self._stop.wait(interval_s):
            if disk_failed and self._journal.failure is None:
                # What could not be written was not acknowledged: the broker delivers it on a new connection.
                self._bus.reconnect()
            disk_failed = self._journal.failure is not None
            self._look_after_connection()
            self._clock.look()
            self._troubles.look()
            if self._healthy():
                notify("WATCHDOG=1")
            else:
                reason = "a thread has died or is stuck; the watchdog will end the service"
                log.error("unhealthy", reason=reason)

    def _look_after_connection(self) -> None:
        if not self._bus.connected:
            return
        self._judge()
        self._claims.catch_up()
        self._hearing.readings.look()
        if self._probe.trouble:
            self._probe.send()

    def _healthy(self) -> bool:
        lines = (self._bus, self._stop_line, self._hearing.readings)
        idle_s = max(line.idle_s for line in lines)
        moving = time.monotonic() - self._dispatcher.progress_at < _STUCK_S and idle_s < _STUCK_S
        parts = (*lines, self._dispatcher, self._publisher, self._journal)
        return moving and all(part.alive for part in parts)

    def _close(self) -> None:
        """Finish what was begun, say good-bye and close the files."""
        notify("STOPPING=1")
        log.info("draining")
        self._reloading.stop()
        self._standing.drain()
        self._assembly.preparation.stop()
        self._hearing.readings.stop()
        self._dispatcher.stop(timeout_s=_DRAIN_S)
        self._publisher.stop(timeout_s=_DRAIN_S)
        save(self._assembly.pipeline)
        self._standing.leave(timeout_s=_DRAIN_S)
        self._bus.stop()
        self._stop_line.stop()
        self._assembly.library.close()
        self._journal.close()
        log.info("stopped")

    def _about(self) -> dict[str, Any]:
        return description(self._configuration, boot=self._boot, passages=self._assembly.library.size)

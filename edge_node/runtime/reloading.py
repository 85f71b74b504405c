"""A changed configuration, read as a whole and taken up while the edge runs, or refused as a whole.

Knows the loader, what can change without a restart, and systemd; knows nothing of threads that handle
messages. One thread does all of it, one reload after the other, whoever asks: a file, a signal or a person.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import structlog

from edge_node.config.watching import Watching
from edge_node.errors import ConfigurationInvalid, EdgeNodeError
from edge_node.messages import Operated
from edge_node.observe.systemd import notify
from edge_node.runtime.changes import Changes, compare
from edge_node.runtime.reading import read_configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_node.announcing import Announcing
    from edge_node.config.loaded import Configuration
    from edge_node.knowledge.building import BuildReport
    from edge_node.messages import Outgoing

log = structlog.get_logger(__name__)

_PROBLEMS_TOLD = 3
_JOIN_S = 10.0
_REFRESH_S = 15.0
"""How old a line of the bus gets before it can be found."""


Outcome: TypeAlias = "Changes | BuildReport | EdgeNodeError"
"""What came of a wish: what has changed, what the index holds, or why it was refused."""


class Wish(NamedTuple):
    """Who wants the configuration read again.

    Attributes:
        user: The person who waits for an answer; empty where nobody does.
        correlation: Correlation of that person's request.
        operation: `reload`, or `reindex` where only the manuals are to be read.
    """

    user: str = ""
    correlation: str = ""
    operation: str = "reload"


class Reloading:
    """The configuration in force, and the thread that takes up another one.

    Args:
        configuration: What the edge starts with.
        take_up: Makes another configuration the one in force; where it raises, the old one goes on.
        answer: Told what came of a wish: what has changed, or why it was refused.
        read_manuals: Brings the index up to the manuals, after each reload and however long it takes.
        refresh: Brings the index up to what came on the bus since the last time.
        refresh_s: Seconds between two of those.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        take_up: Callable[[Configuration], None],
        answer: Callable[[Wish, Outcome], None],
        read_manuals: Callable[[], BuildReport],
        refresh: Callable[[], object],
        refresh_s: float = _REFRESH_S,
    ) -> None:
        self._configuration = configuration
        self._take_up = take_up
        self._answer = answer
        self._read_manuals = read_manuals
        self._refresh = refresh
        self._refresh_s = refresh_s
        self._wishes: queue.SimpleQueue[Wish | None] = queue.SimpleQueue()
        self._watching = Watching(
            configuration.file, patterns=configuration.runtime.nodes, on_change=self.request
        )
        self._thread = threading.Thread(target=self._run, name="reloading", daemon=True)
        self._trouble = ""
        self._last = ""

    @property
    def trouble(self) -> str:
        """Why the files as they are now are not in force; empty where they are."""
        return self._trouble

    def request(self, user: str = "", correlation: str = "", operation: str = "reload") -> None:
        """Have the files read again soon; may be called from any thread and from a signal handler."""
        self._wishes.put(Wish(user, correlation, operation))

    def start(self) -> None:
        """Start to watch the files and to take them up."""
        self._thread.start()
        self._watching.start()

    def stop(self) -> None:
        """End in order; a reload that has begun is finished."""
        self._watching.stop()
        self._wishes.put(None)
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while (wish := self._next()) is not None:
            if wish.operation == "reindex":
                self._reindex(wish)
                continue
            # Source: sd_notify(3), RELOADING=1; Type=notify-reload waits for the READY=1 of a later time.
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            outcome = self._reload()
            refused = isinstance(outcome, EdgeNodeError)
            told = f"refused, the old configuration goes on: {outcome}" if refused else "running"
            notify(f"READY=1\nSTATUS={told.splitlines()[0]}")
            self._finish(wish, outcome)

    def _next(self) -> Wish | None:
        """Return the next wish, None at the end; refresh the index while there is none."""
        while True:
            try:
                return self._wishes.get(timeout=self._refresh_s)
            except queue.Empty:
                try:
                    self._refresh()
                except EdgeNodeError as error:
                    log.error("lines_not_indexed", reason=str(error))  # noqa: TRY400 - said in one sentence

    def _reindex(self, wish: Wish) -> None:
        try:
            outcome: Outcome = self._read_manuals()
        except EdgeNodeError as error:
            log.error("manuals_not_indexed", reason=str(error))  # noqa: TRY400 - said in one sentence
            outcome = error
        try:
            self._answer(wish, outcome)
        except EdgeNodeError as error:
            log.error("reindex_not_answered", reason=str(error))  # noqa: TRY400 - said in one sentence

    def _reload(self) -> Changes | EdgeNodeError:
        try:
            found = read_configuration(self._configuration.file)
            configuration, changes = compare(self._configuration, found)
            if changes.any_taken_up:
                self._take_up(configuration)
        except EdgeNodeError as error:
            self._trouble = _short(error)
            log.error(  # noqa: TRY400 - a file that is wrong needs no traceback
                "configuration_refused", reason=self._trouble, consequence="the old one goes on"
            )
            return error
        self._configuration, self._trouble = configuration, ""
        if changes.restart:
            log.warning("restart_needed", keys=changes.restart)
        if not changes.any_taken_up:
            return replace(changes, last=self._last)
        log.info("configuration_taken_up", changes=changes.text)
        self._last = replace(changes, restart=()).text
        return changes

    def _finish(self, wish: Wish, outcome: Changes | EdgeNodeError) -> None:
        """Tell who waits, and read the manuals; what goes wrong here leaves the configuration in force."""
        try:
            self._answer(wish, outcome)
            if not isinstance(outcome, EdgeNodeError):
                self._read_manuals()
        except EdgeNodeError as error:
            log.error("reload_unfinished", reason=str(error))  # noqa: TRY400 - said in one sentence


def answer(wish: Wish, outcome: Outcome, announcing: Announcing) -> tuple[Outgoing, ...]:
    """Return what a person who wished for a reload is told; nothing where nobody waits."""
    if not wish.user:
        return ()
    done = Operated(wish.operation, wish.user, wish.correlation, "")
    if isinstance(outcome, EdgeNodeError):
        return announcing.failure(done, outcome)
    data = outcome.as_dict() if isinstance(outcome, Changes) else asdict(outcome)
    return announcing.response(replace(done, text=outcome.text, data=data))


def _short(error: EdgeNodeError) -> str:
    """Return the first problems of a configuration, each with file and line, in one line."""
    if not isinstance(error, ConfigurationInvalid):
        return str(error)
    told = [str(problem) for problem in error.problems[:_PROBLEMS_TOLD]]
    more = len(error.problems) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")

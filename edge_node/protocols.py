"""What each stage promises to the pipeline.

Protocols over the value types of `edge_node.messages`; no implementation, no third-party type but
NumPy arrays for vectors. Implementations live in the stage packages and are wired in `edge_node.runtime`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_node.errors import BusError, EdgeNodeError
    from edge_node.messages import (
        Command,
        CommandDraft,
        Decision,
        DeviceReport,
        DeviceState,
        Generation,
        Grammar,
        Message,
        Observation,
        Open,
        Operated,
        Outgoing,
        Passage,
        Proposal,
        Quotation,
        Refusal,
        Request,
        RuleResult,
        StateRow,
        Turn,
        Verdict,
    )


class Bus(Protocol):
    """The broker, seen from inside."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""

    def publish(
        self,
        outgoing: Outgoing,
        *,
        on_acknowledged: Callable[[], None] | None = None,
        on_failed: Callable[[BusError], None] | None = None,
    ) -> None:
        """Hand a message to the broker; after a return exactly one of the callbacks is called.

        Raises:
            BrokerUnreachable: There is no connection; the message has not left.
        """


class Twin(Protocol):
    """Last known state of every device."""

    def observe(self, message: Message) -> tuple[Observation, ...]:
        """Take up what a message says; one observation for each node that listens to its topic.

        A retained message makes none: nobody knows how old it is.

        Raises:
            PayloadInvalid: A node listens, and the payload cannot be read.
        """

    def state(self, node: str, device: str) -> DeviceState | None:
        """Return the state of a device in a node's words, or None where it was never heard."""

    def times(self, node: str, device: str) -> Mapping[str, float]:
        """Return when each value of a device was heard, seconds since the epoch."""

    def devices(self, node: str) -> tuple[str, ...]:
        """Return the devices a node has heard from, sorted."""

    def reports(self, *, node: str = "", after: str = "") -> Iterator[DeviceReport]:
        """Yield all that is known of devices, of one node or all, behind `NODE/DEVICE` in their order."""

    def follow(self, commands: Sequence[Command]) -> None:
        """Take up what commands want of their devices, as the commands are now."""


class Remembering(Protocol):
    """A stage whose memory outlives the process."""

    def take_changes(self, *, urgent: bool) -> Sequence[StateRow]:
        """Return what changed since it was last taken.

        Args:
            urgent: Only what must be on the disk together with the message that changed it; the rest
                waits for the next look.
        """

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Take up what an earlier process remembered; a row that cannot be read is left out, and told."""


class States(Protocol):
    """Where the rows of stages are kept."""

    def remember(self, rows: Sequence[StateRow]) -> None:
        """Write rows, and what the disk refused before, in one transaction."""

    def postpone(self, rows: Iterable[StateRow]) -> None:
        """Keep rows that go with the next ones of `remember`."""

    def remembered(self, owner: str) -> Sequence[StateRow]:
        """Return what a stage remembered, in the order in which it was taken."""

    @property
    def last_turn(self) -> int:
        """The turn of the row that was taken last; 0 where there is none."""


class Triggers(Protocol):
    """What makes a message, or the passing of time, into requests."""

    def requests(self, message: Message, observations: Sequence[Observation]) -> tuple[Request, ...]:
        """Return the requests a message leads to, in order.

        Raises:
            InputError: It is a question or an order that cannot be read.
        """

    def due(self, now: float) -> tuple[Request, ...]:
        """Return the requests that fall due by the passing of time, up to `now`."""


class Understanding(Protocol):
    """The cheap tiers: rules, sentence templates, nearest examples."""

    def draft(self, request: Request) -> Proposal | Open:
        """Return one draft or several in order, or what is still open for the model."""


class Retrieval(Protocol):
    """The manuals and the bus's history."""

    def passages(self, text: str, *, node: str = "", limit: int = 4) -> tuple[Passage, ...]:
        """Return the passages nearest to `text`, best first; of all nodes where `node` is empty."""


class Attention(Protocol):
    """What the model is asked with: how long it is wanted, and who listens meanwhile."""

    @property
    def waited_s(self) -> float:
        """Seconds the request waited for the model."""

    def check(self) -> None:
        """Return if the request is still wanted; called between tokens.

        Raises:
            EdgeNodeError: Its deadline has passed, it was taken back, or the service ends.
        """

    def settle(self) -> None:
        """Return if a draft may still count; from then on the request cannot be taken back.

        Raises:
            EdgeNodeError: Its deadline has passed, or it was taken back.
        """

    def tell(self, quotation: Quotation) -> None:
        """Let who asked hear a quotation that the answer will hold, where that is wanted."""


class Drafting(Protocol):
    """The language model, asked for a command or for quotations."""

    def draft(
        self,
        request: Request,
        matter: Open,
        passages: Sequence[Passage],
        *,
        attention: Attention | None = None,
    ) -> tuple[Proposal, Mapping[str, object]]:
        """Return one draft or several in order, and what the model read and wrote.

        Raises:
            EdgeNodeError: `attention` says that it is not wanted any more, or the model cannot be had.
        """


class Gate(Protocol):
    """What decides whether a command may go out."""

    def judge(self, draft: CommandDraft, request: Request, *, beside: Sequence[CommandDraft] = ()) -> Verdict:
        """Return the verdict on a command draft; never raises for a bad draft, denies it.

        `beside` are drafts of the same task that are to leave just before it, and count as sent.
        """

    def judge_approved(
        self,
        draft: CommandDraft,
        request: Request,
        *,
        proposed_at: float,
        by: str,
        beside: Sequence[CommandDraft] = (),
    ) -> Verdict:
        """Return the verdict on a draft that a person approves, as things are now."""

    def approvers(self, node: str, name: str) -> frozenset[str]:
        """Return the users who may approve a command."""

    def signed(self, node: str, name: str) -> bool:
        """Return whether an approval of a command counts only with a signature."""


class OperationalStop(Protocol):
    """What is latched by an operational stop, for who may release it."""

    @property
    def status(self) -> str:
        """What is latched, in a sentence."""

    def reset(self, *, user: str, stop_id: str, asked_at: float, decided: Iterable[str]) -> None:
        """Let new commands leave again; those that were decided before never leave.

        Raises:
            ResetRefused: Another stop came after the one that is meant.
            LatchError: The disk refused; the stop holds.
        """


class Decisions(Protocol):
    """What was decided, as it is kept."""

    def explain(self, key: str) -> tuple[dict[str, Any], ...]:
        """Return all that is kept of the decisions that an identifier, or the beginning of one, names.

        Raises:
            DecisionUnknown: Nothing is kept under it, or more than one thing begins with it.
        """

    def history(
        self, *, since: float = 0.0, node: str = "", device: str = "", limit: int = 20
    ) -> tuple[dict[str, Any], ...]:
        """Return the last decisions in short, newest first."""


class Operations(Protocol):
    """What people ask of the edge itself."""

    def carry_out(self, message: Message) -> Operated | None:
        """Return what came of a message that asks for an operation, or None for any other message.

        Raises:
            InputError: It cannot be carried out; who asked is told why.
        """


class Lifecycle(Protocol):
    """The life of commands after the gate."""

    def issue(self, draft: CommandDraft, verdict: Verdict, request: Request) -> Command:
        """Return the command with its identifier, its first state and what its device gets."""

    def observe(self, observations: Sequence[Observation]) -> tuple[Command, ...]:
        """Return the commands whose state changed by what devices reported."""

    def awaiting(self, subject: str) -> tuple[Command, ...]:
        """Return the commands that await approval under an identifier: a command's own, or their task's.

        Raises:
            TransitionInvalid: None does, or not any more.
        """

    def approve(
        self,
        subject: str,
        *,
        user: str,
        rules: Mapping[str, tuple[RuleResult, ...]] | None = None,
        signed: bool = False,
    ) -> tuple[Command, ...]:
        """Return the commands that awaited approval, now sent; `rules` tells what the gate said of each."""

    def refuse(self, subject: str, *, refusal: Refusal) -> None:
        """Take note, for each command that awaits approval under an identifier, that one was refused."""

    def take_refused(self) -> tuple[Command, ...]:
        """Return the open commands of which a refusal was noted since this was last asked."""

    def cancel(self, subject: str, *, user: str) -> tuple[Command, ...]:
        """Return the commands that awaited approval, now cancelled; raises as `awaiting` does."""

    def open_ids(self) -> tuple[str, ...]:
        """Return the identifiers of all commands that may still change."""

    def due(self, now: float) -> tuple[Command, ...]:
        """Return the commands whose state changed by the passing of time, up to `now`."""


class Announcing(Protocol):
    """What the bus is told about decisions and commands."""

    def outgoing(self, decisions: Sequence[Decision], moved: Sequence[Command]) -> tuple[Outgoing, ...]:
        """Return the messages to devices and people that follow from decisions and state changes."""

    def response(self, operated: Operated) -> tuple[Outgoing, ...]:
        """Return what a person who asked for an operation gets, and what follows for devices and others."""

    def refusal(self, message: Message, error: EdgeNodeError) -> tuple[Outgoing, ...]:
        """Return the dead letter of a message, and the error to its sender where there is a way to one."""


class Journal(Protocol):
    """What must survive a power cut."""

    def conclude(
        self,
        message: Message | None,
        *,
        decisions: Sequence[Decision] = (),
        commands: Sequence[Command] = (),
        outgoing: Iterable[Outgoing] = (),
        dead: str = "",
        states: Sequence[StateRow] = (),
    ) -> None:
        """Write, in one transaction, the end of a message and all that came of it."""

    @property
    def states(self) -> States:
        """What stages remember over a restart."""


class Progress(Protocol):
    """Whom a long piece of work tells how far it is; one piece of work at a time."""

    def start(self, label: str, total: int) -> None:
        """Begin a piece of work of `total` bytes or steps."""

    def advance(self, done: int) -> None:
        """Say how many bytes or steps are done in all."""

    def finish(self) -> None:
        """End the piece of work, done or not."""

    def note(self, text: str) -> None:
        """Say what a person should know, such as a file that had to be fetched again."""


class Embedder(Protocol):
    """Sentences to vectors."""

    @property
    def name(self) -> str:
        """Name and hash of the model, so that stored vectors can be told apart."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors of shape (len(texts), dimension), dtype float32."""


class LanguageModel(Protocol):
    """Text to text under a grammar."""

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""

    def count(self, turns: Sequence[Turn]) -> int:
        """Return how many tokens a prompt has."""

    def prepare(self, system: Turn) -> None:
        """Have the turn that opens chats ready, so that no request has to wait until it is read."""

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        """Return the greedy continuation that is a sentence of `grammar`.

        Args:
            turns: The chat.
            grammar: What the answer must be a sentence of.
            max_tokens: Tokens to write at most.
            check: Called before each run of the model; what it raises ends the work there.

        Raises:
            ContextExceeded: Prompt and `max_tokens` do not fit the context.
            GrammarInvalid: The grammar does not compile.
        """

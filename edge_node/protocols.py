"""What each stage promises to the pipeline.

Protocols over the value types of `edge_node.messages`; no implementation, no third-party type but
NumPy arrays for vectors. Implementations live in the stage packages and are wired in `edge_node.runtime`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_node.messages import (
        Command,
        CommandDraft,
        Decision,
        DeviceState,
        Draft,
        Generation,
        Grammar,
        Message,
        Observation,
        Open,
        Outgoing,
        Passage,
        Request,
        Turn,
        Verdict,
    )


class Bus(Protocol):
    """The broker, seen from inside."""

    def publish(self, outgoing: Outgoing, *, on_acknowledged: Callable[[], None] | None = None) -> None:
        """Hand a message to the broker; `on_acknowledged` is called once the broker has it."""


class Twin(Protocol):
    """Last known state of every device."""

    def observe(self, message: Message) -> tuple[Observation, ...]:
        """Take up what a message says; one observation for each node that listens to its topic.

        Raises:
            PayloadInvalid: A node listens, and the payload cannot be read.
        """

    def state(self, node: str, device: str) -> DeviceState | None:
        """Return the state of a device in a node's words, or None where it was never heard."""

    def devices(self, node: str) -> tuple[str, ...]:
        """Return the devices a node has heard from, sorted."""


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

    def draft(self, request: Request) -> Draft | Open:
        """Return a draft, or what is still open for the model."""


class Retrieval(Protocol):
    """The manuals and the bus's history."""

    def passages(self, text: str, *, node: str = "", limit: int = 4) -> tuple[Passage, ...]:
        """Return the passages nearest to `text`, best first; of all nodes where `node` is empty."""


class Drafting(Protocol):
    """The language model, asked for a command or for quotations."""

    def draft(self, request: Request, matter: Open, passages: Sequence[Passage]) -> tuple[Draft, Mapping[str, object]]:
        """Return a draft and what the model read and wrote."""


class Gate(Protocol):
    """What decides whether a command may go out."""

    def judge(self, draft: CommandDraft, request: Request) -> Verdict:
        """Return the verdict on a command draft; never raises for a bad draft, denies it."""


class Lifecycle(Protocol):
    """The life of commands after the gate."""

    def issue(self, draft: CommandDraft, verdict: Verdict, request: Request) -> Command:
        """Return the command with its identifier, its first state and what its device gets."""

    def observe(self, observations: Sequence[Observation]) -> tuple[Command, ...]:
        """Return the commands whose state changed by what devices reported."""

    def due(self, now: float) -> tuple[Command, ...]:
        """Return the commands whose state changed by the passing of time, up to `now`."""


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
    ) -> None:
        """Write, in one transaction, the end of a message and all that came of it."""


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

    def generate(self, turns: Sequence[Turn], *, grammar: Grammar, max_tokens: int) -> Generation:
        """Return the greedy continuation that is a sentence of `grammar`.

        Raises:
            ContextExceeded: Prompt and `max_tokens` do not fit the context.
            GrammarInvalid: The grammar does not compile.
        """

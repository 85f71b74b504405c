"""What travels between the stages: frozen dataclasses and enumerations, nothing else.

Knows no stage, no library and no wire format. Times are seconds since the epoch (UTC) unless a
name says otherwise; identifiers are UUIDv7 in text form, so that they sort by time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT publication as it arrived.

    Attributes:
        id: Identifier given on arrival.
        topic: Topic it was published on.
        payload: Body as it came.
        received_at: Arrival, seconds since the epoch.
        qos: Quality of service it was delivered with.
        retained: Whether the broker had kept it from before.
        durable: Whether it stands in the journal and must reach a recorded end.
        response_topic: MQTT 5 Response-Topic, or empty.
        correlation: MQTT 5 Correlation-Data, or empty.
        dropped_bytes: Size of a payload that was too large to keep; the payload is empty then.
        packet_id: Identifier of its packet within the session with the broker; 0 where there is none.
        redelivered: Whether the broker says that it delivered this before, and got no acknowledgement.
        expires_at: When its sender wants it no more, by MQTT 5 Message-Expiry, or None.
    """

    id: str
    topic: str
    payload: bytes
    received_at: float
    qos: int = 0
    retained: bool = False
    durable: bool = False
    response_topic: str = ""
    correlation: bytes = b""
    dropped_bytes: int = 0
    packet_id: int = 0
    redelivered: bool = False
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One MQTT publication that is to leave.

    Attributes:
        topic: Topic to publish on.
        payload: Body.
        qos: Quality of service, 0 or 1.
        retain: Whether the broker keeps it.
        expiry_s: MQTT 5 Message-Expiry in seconds, or None.
        correlation: MQTT 5 Correlation-Data, or empty.
        content_type: MQTT 5 Content-Type, or empty.
        command_id: The command this carries to a device, or empty.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    correlation: bytes = b""
    content_type: str = "application/json"
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one message said about one device, in the words of one node.

    Attributes:
        node: Node whose `listen` entry matched.
        device: Device named by the topic.
        fields: Field name to value, only those the payload held.
        observed_at: Seconds since the epoch.
    """

    node: str
    device: str
    fields: Mapping[str, Any]
    observed_at: float


@dataclass(frozen=True, slots=True)
class DeviceState:
    """The last known state of one device, as one node sees it.

    Attributes:
        node: The node whose field names are used.
        device: The device.
        fields: Field name to last value; values older than the node's `stale` are left out.
        seen_at: Time of the last message, seconds since the epoch.
        online: Whether it was heard from within the node's `stale`.
    """

    node: str
    device: str
    fields: Mapping[str, Any]
    seen_at: float
    online: bool


@dataclass(frozen=True, slots=True)
class FieldReport:
    """All that is known of one field of a device.

    Attributes:
        name: Field name.
        value: Last value; None where the device tells none.
        at: When it held, seconds since the epoch; None where it was never told.
        fresh: Whether it can be relied on; otherwise it counts as unknown.
        topic: Topic it came from, or empty.
        entry: Place of the node's `listen` entry that read it, from 0, or None.
        desired: What was ordered and not reported since, or None.
        desired_at: When it was ordered, or None.
        command_id: The command that ordered it, or empty.
    """

    name: str
    value: Any
    at: float | None
    fresh: bool
    topic: str = ""
    entry: int | None = None
    desired: Any = None
    desired_at: float | None = None
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """All that is known of one device, as one node sees it, stale or not.

    Attributes:
        node: The node whose field names are used.
        device: The device.
        online: Whether it has spoken lately.
        seen_at: Time of the last message, seconds since the epoch.
        fields: Its fields by name.
    """

    node: str
    device: str
    online: bool
    seen_at: float
    fields: tuple[FieldReport, ...]


@dataclass(frozen=True, slots=True)
class StateRow:
    """Something a stage remembers and wants back after a restart.

    Attributes:
        owner: The stage it belongs to: `twin` or `triggers`.
        key: What it is about, unique for its owner.
        body: What is remembered, as JSON; None where it is to be forgotten.
        turn: When it was taken, counted up; a row never replaces one that was taken after it.
    """

    owner: str
    key: str
    body: str | None
    turn: int = 0


class RequestKind(StrEnum):
    """What made a message into a request."""

    ALARM = "alarm"
    ALERT = "alert"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Request:
    """Something that wants a decision.

    Attributes:
        id: Identifier; the decision carries the same.
        kind: An alarm of a trigger, an alert that begins or ends, or words of a person.
        message_id: The message it came from; for a timer, the last message it rests on.
        created_at: Seconds since the epoch.
        node: Node that is asked; empty where the words must tell.
        text: What was said, or a sentence that tells the alarm.
        user: Who asks, from the topic; empty for an alarm.
        trigger: The trigger that fired; empty for a person.
        device: The device the alarm is about; empty for a person.
        reply_to: Topic the answer goes to; empty where nobody waits.
        correlation: Correlation of the caller, handed back with every reply.
        evidence: Why a trigger fired: its conditions as written, and the values and windows they saw.
        expires_at: When who asks wants no decision any more; None where the configuration tells.
        stream: Whether who asks wants to hear pieces of the answer as they come.
        context: Label to value: where it is said, such as the area of the device that listens.
        began_at: When the episode began that an alert tells of, seconds since the epoch.
        over: Whether an alert tells that its episode has ended.
        task: The request of which this is one order of several; empty where it led to no more than one.
    """

    id: str
    kind: RequestKind
    message_id: str
    created_at: float
    node: str = ""
    text: str = ""
    user: str = ""
    trigger: str = ""
    device: str = ""
    reply_to: str = ""
    correlation: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict, hash=False)
    expires_at: float | None = None
    stream: bool = False
    context: Mapping[str, str] = field(default_factory=dict, hash=False)
    began_at: float = 0.0
    over: bool = False
    task: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that has come to where it needs the model.

    Attributes:
        request: The request.
        question: Whether words of the manuals are wanted, rather than a command.
        expires_at: When nothing is to be done about it any more, seconds since the epoch.
    """

    request: Request
    question: bool
    expires_at: float


class Origin(StrEnum):
    """Which tier proposed a draft."""

    RULE = "rule"
    TEMPLATE = "template"
    NEAREST = "nearest"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Passage:
    """A cited piece of a manual.

    Attributes:
        file: Path relative to the node's folder, with forward slashes.
        first_line: First line of the piece, from 1.
        last_line: Last line of the piece, inclusive.
        text: The piece as it stands in the file.
        heading: Headings above it, joined by " > "; may be empty.
        node: Node whose knowledge it belongs to.
        score: Fused rank score, greater is better.
        similarity: Cosine similarity to the query in the embedding space, -1 to 1.
        page: Page of a PDF, from 1, or None.
    """

    file: str
    first_line: int
    last_line: int
    text: str
    heading: str = ""
    node: str = ""
    score: float = 0.0
    similarity: float = 0.0
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Quotation:
    """Words that stand in a manual, with the place where they stand.

    Attributes:
        text: The words, exactly as in the file but for line breaks.
        file: Path relative to the node's folder.
        first_line: First line, from 1.
        last_line: Last line, inclusive.
        page: Page of a PDF, from 1, or None.
    """

    text: str
    file: str
    first_line: int
    last_line: int
    page: int | None = None


@dataclass(frozen=True, slots=True)
class CommandDraft:
    """A command that understanding or the model proposes.

    Attributes:
        node: Node the command belongs to.
        name: Name of the command.
        arguments: Argument name to value.
        origin: Tier that proposed it.
        confidence: 0 to 1.
    """

    node: str
    name: str
    arguments: Mapping[str, Any]
    origin: Origin
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class AnswerDraft:
    """An answer made of quotations; none of them means that the manuals do not tell.

    Attributes:
        node: Node that answers.
        quotations: What was found, in order.
    """

    node: str
    quotations: tuple[Quotation, ...] = ()


@dataclass(frozen=True, slots=True)
class NothingDraft:
    """Nothing is proposed.

    Attributes:
        node: Node that was asked; empty where none fits.
        reason: Why, in a sentence for the person who asked.
        code: `none_fits`, `ask_back`, `no_device` or `not_understood`, or the code of an error.
        offers: Commands of which the next words of who asked may choose one, in the order they are told in.
    """

    node: str
    reason: str
    code: str = "none_fits"
    offers: tuple[CommandDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskDraft:
    """Several commands that one request leads to; they are judged as one thing.

    Attributes:
        drafts: The commands in the order in which they are to leave, two or more.
    """

    drafts: tuple[CommandDraft, ...]

    @property
    def node(self) -> str:
        """The node of all of them; empty where they belong to several."""
        nodes = {draft.node for draft in self.drafts}
        return nodes.pop() if len(nodes) == 1 else ""


Draft = CommandDraft | AnswerDraft | NothingDraft
"""What one decision is about."""
Proposal = Draft | TaskDraft
"""What a request leads to."""


@dataclass(frozen=True, slots=True)
class Open:
    """What the cheap tiers could not settle; the model goes on from here.

    Attributes:
        node: Node to answer; empty where the passages found must tell.
        question: True where words from the manuals are wanted, False where a command may be meant.
        commands: Names of the commands that come into question, best first.
        examples: Sentence and call, nearest first, to show to the model.
    """

    node: str
    question: bool
    commands: tuple[str, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule of the gate said.

    Attributes:
        rule: Name of the rule, such as `arguments` or `require[0]`.
        passed: Whether it let the draft through.
        reason: What it saw, in a sentence.
    """

    rule: str
    passed: bool
    reason: str = ""


class Outcome(StrEnum):
    """What the gate says of a draft."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NEEDS_APPROVAL = "needs_approval"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a command draft.

    Attributes:
        outcome: Allowed, denied, or allowed once a person approves.
        rules: Every rule that was asked, in order; the last one decided.
        approvers: Users who may approve it, where a person must.
    """

    outcome: Outcome
    rules: tuple[RuleResult, ...]
    approvers: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The sentence of the rule that decided."""
        return self.rules[-1].reason if self.rules else ""

    @property
    def rule(self) -> str:
        """The name of the rule that decided."""
        return self.rules[-1].rule if self.rules else ""


class CommandState(StrEnum):
    """Where a command is in its life."""

    PROPOSED = "proposed"
    DENIED = "denied"
    AWAITING_APPROVAL = "awaiting_approval"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a device is expected to report once it has carried out a command.

    Attributes:
        field: Field of the device.
        value: Value that shows it.
        within_s: Seconds it may take.
    """

    field: str
    value: Any
    within_s: float


@dataclass(frozen=True, slots=True)
class Approval:
    """That a person let a command go.

    Attributes:
        user: Who approved it.
        at: When, seconds since the epoch.
        signed: Whether the approval was signed.
        rules: What the gate said then, as things were then.
    """

    user: str
    at: float
    signed: bool = False
    rules: tuple[RuleResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """That a person wanted to let a command go, and was not let.

    Attributes:
        user: Who wanted to.
        at: When, seconds since the epoch.
        rule: What refused it: a rule of the gate, `signature`, or the key that names who may.
        reason: Why, in a sentence.
    """

    user: str
    at: float
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command with an identifier and a life.

    Attributes:
        id: Identifier; a device sees at most one message with it.
        node: Node it belongs to.
        name: Name in the node file.
        device: Device it goes to; empty where it names none.
        arguments: Argument name to value.
        state: Where it is in its life.
        created_at: Seconds since the epoch.
        expires_at: When it is no longer to be sent, seconds since the epoch.
        idempotent: Whether it may be sent again after a crash.
        topic: Topic of the device.
        payload: What the device gets.
        expectation: What shows that it was done, or None where nothing can.
        reply_to: Topic of the person who ordered it, or empty.
        correlation: Correlation of that person's request.
        detail: What was seen in the last step of its life, in a sentence.
        origin: Tier that proposed it.
        user: Who ordered it; empty where a trigger led to it.
        trigger: The trigger that led to it; empty where a person ordered it.
        decision: The decision that led to it.
        task: The request that led to it and to others; empty where it stands alone.
        behind: Whether it awaits approval only because it stands behind one of its task that needs it.
        others_open: How many others of its task might still change when it came into this state.
        sent_at: When it was sent, seconds since the epoch; None where it was not.
        approval: Who let it go; None where nobody had to, or nobody has.
        refusals: Approvals of it that were refused, oldest first; the last of each user by each rule.
    """

    id: str
    node: str
    name: str
    device: str
    arguments: Mapping[str, Any]
    state: CommandState
    created_at: float
    expires_at: float
    idempotent: bool
    topic: str
    payload: bytes
    expectation: Expectation | None = None
    reply_to: str = ""
    correlation: str = ""
    detail: str = ""
    origin: Origin = Origin.MODEL
    user: str = ""
    trigger: str = ""
    decision: str = ""
    task: str = ""
    behind: bool = False
    others_open: int = 0
    sent_at: float | None = None
    approval: Approval | None = None
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The record of all that was done about one request.

    Attributes:
        request: What wanted a decision.
        draft: What was proposed.
        verdict: What the gate said; None where there was no command to judge.
        command: The command that came of it; None where none did.
        passages: What was retrieved.
        states: Device to field values at the time of the decision.
        stages_ms: Stage to milliseconds spent.
        model: What the model read and wrote: prompt, text, token counts; empty where it was not asked.
        message: What came from the bus; None where time passed.
        times: Device to the time at which each value of `states` was heard, seconds since the epoch.
        matter: What the cheap tiers left open for the model; None where they settled it.
        made_by: What decided, by name: the program's version, and the models with their hashes.
    """

    request: Request
    draft: Draft
    verdict: Verdict | None = None
    command: Command | None = None
    passages: tuple[Passage, ...] = ()
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    message: Message | None = None
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    matter: Open | None = None
    made_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operated:
    """What came of an operation that a person asked for.

    Attributes:
        operation: What was asked for.
        user: Who asked.
        correlation: Correlation of that person's request.
        text: What came of it, in a sentence.
        commands: The commands whose state it changed, in order.
        final: Whether nothing more will follow.
        data: What else the answer holds, by key.
    """

    operation: str
    user: str
    correlation: str
    text: str
    commands: tuple[Command, ...] = ()
    final: bool = True
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a chat prompt.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: The words.
    """

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """What generated text must be a sentence of.

    Attributes:
        source: A JSON Schema as JSON text, or a Lark grammar in llguidance's dialect.
        kind: `json_schema` or `lark`.
    """

    source: str
    kind: str = "json_schema"


@dataclass(frozen=True, slots=True)
class Generation:
    """What a language model wrote.

    Attributes:
        text: The words, without special tokens.
        prompt_tokens: Tokens read.
        cached_tokens: Of these, how many were already in the cache.
        tokens: Tokens written.
        forced_tokens: Of these, how many the grammar left no choice for.
        guessed_tokens: Of these, how many were read ahead because the prompt foretold them.
        runs: How often the model ran.
        complete: False where it stopped at the token limit before the grammar was satisfied.
        log_probability: Mean natural logarithm of the probability of the chosen tokens, 0 at best.
    """

    text: str
    prompt_tokens: int
    cached_tokens: int
    tokens: int
    forced_tokens: int
    complete: bool
    log_probability: float
    guessed_tokens: int = 0
    runs: int = 0

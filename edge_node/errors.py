"""Every exception of edge_node.

Knows facts and sentences; knows nothing of where an error is shown.

    EdgeNodeError
    ├── ConfigurationError        the configuration cannot be used (exit status 78)
    │   ├── ConfigurationMissing  no runtime file where one was looked for
    │   ├── ConfigurationInvalid  one or more problems, each with file:line and key path
    │   ├── KeyUnusable           a file that should hold a person's key does not
    │   ├── ConditionInvalid      a CEL expression does not compile or names what is not there
    │   └── StateInUse            another service runs on the same state folder
    ├── InputError                what came from the bus cannot be used; its sender can mend it
    │   ├── PayloadInvalid        not UTF-8, not JSON, too large, too deep, empty
    │   ├── EnvelopeInvalid       a request without what it needs, or retained
    │   ├── MeasureInvalid        a file of documents or questions to measure by that cannot be used
    │   ├── RecordingInvalid      a recording of messages that cannot be played
    │   ├── TopicInvalid          a topic or a name that may not stand in one
    │   ├── NotPermitted          who asks for an operation is not among those who may
    │   ├── SignatureRefused      an approval that must be signed, and is not as it has to be
    │   ├── Denied                the gate does not let a command through that was approved
    │   ├── DecisionUnknown       nothing that was decided is kept under an identifier
    │   ├── RequestUnknown        no request of a user is under way with a correlation
    │   ├── ResetRefused          a reset of the operational stop that does not fit what is latched
    │   └── TransitionInvalid     a step that a command cannot take from where it is in its life
    ├── BusError
    │   ├── BrokerUnreachable     no connection (retryable)
    │   ├── BrokerRefused         the broker answered no (exit status 78 where retrying cannot help)
    │   ├── Withheld              a command that an operational stop kept from leaving
    │   ├── EdgeSilent            an edge did not answer in time (retryable)
    │   └── OperationRefused      an edge did not do what it was asked for
    ├── DatabaseError             a database file cannot be opened, read or written
    │   └── JournalError          the same of the journal
    ├── KnowledgeError
    │   ├── KnowledgeIndexError   the index cannot be opened, read or written (also a DatabaseError)
    │   └── DocumentUnreadable    one file of a manual; the others are indexed
    ├── ModelError
    │   ├── ModelUnknown          no such name in the catalogue
    │   ├── ModelMissing          known, but not on this machine yet
    │   ├── ModelCorrupt          a file is not the one the catalogue names
    │   ├── ModelUnavailable      none of its sources could be fetched (retryable)
    │   ├── LargerModelFailed     the model at an address was not reached, or answered no chat (retryable)
    │   ├── ModelUnsupported      an architecture or a type this build cannot run
    │   ├── ContextExceeded       the prompt does not fit
    │   └── GrammarInvalid        a grammar that does not compile or cannot be satisfied
    ├── LatchError                the operational stop cannot be read from the disk or written to it
    ├── Unavailable               something optional is not installed
    ├── SiteNotReady              the demo's runtime did not get ready
    ├── Busy                      too much waits for the model (retryable)
    ├── DeadlinePassed            a request that was not decided in time, and is not decided any more
    ├── Superseded                an alarm that came again while it waited for the model
    ├── Withdrawn                 a request that who made it has taken back
    ├── Interrupted               the service ends while the model runs; the request comes again
    └── InternalFault             a fault of edge_node itself
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class EdgeNodeError(Exception):
    """Root of all errors raised on purpose.

    Attributes:
        code: Stable machine-readable name of the kind of error.
        retryable: Whether the same attempt may succeed later.
        exit_status: What a command ends with when this error reaches it.
        hint: The way out, one sentence; may be empty.
        field: Key path, argument or topic that the error is about; may be empty.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.field = field

    def as_dict(self) -> dict[str, Any]:
        """Return the error as it travels on the bus: code, message, hint, field, retryable."""
        return {
            "code": self.code,
            "message": str(self),
            "hint": self.hint,
            "field": self.field,
            "retryable": self.retryable,
        }


class ConfigurationError(EdgeNodeError):
    """The configuration cannot be used as it is."""

    code = "configuration"
    exit_status = 78


class ConfigurationMissing(ConfigurationError):
    """No runtime file in any of the places where one was looked for."""

    code = "configuration_missing"

    def __init__(self, places: Sequence[Path]) -> None:
        looked = ", ".join(str(place) for place in places)
        super().__init__(
            f"configuration: expected a runtime file, came none at {looked}",
            hint="name one with --config, or make one with `edge-node init DIR`",
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file.

    Attributes:
        file: The file, as the user named it.
        line: Line, from 1; 0 where the file as a whole is meant.
        key: Path of keys, joined by dots; empty at the top.
        expected: What should have stood there.
        came: What stood there.
        hint: The way out; may be empty.
    """

    file: str
    line: int
    key: str
    expected: str
    came: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{key} expected {self.expected}, came {self.came}{hint}"


class ConfigurationInvalid(ConfigurationError):
    """One or more problems in configuration files."""

    code = "configuration_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConditionInvalid(ConfigurationError):
    """A condition that does not compile, or that names a value which does not exist."""

    code = "condition_invalid"

    def __init__(self, source: str, *, reason: str) -> None:
        super().__init__(f"condition {source!r}: {reason}", hint="conditions are CEL expressions")
        self.source = source
        self.reason = reason


class StateInUse(ConfigurationError):
    """Another service runs on the same state folder."""

    code = "state_in_use"

    def __init__(self, folder: Path, *, holder: str) -> None:
        super().__init__(
            f"state {folder}: expected a folder that no other service uses, came one in use by {holder}",
            hint="end that service, or give each edge its own `edge` or `state`",
            field="state",
        )


class KeyUnusable(ConfigurationError):
    """A file that should hold a key and cannot be used as one."""

    code = "key_unusable"

    def __init__(self, file: Path, *, expected: str) -> None:
        super().__init__(
            f"key {file}: expected {expected}, came something else",
            hint="`edge-node key new USER` writes a pair",
            field="operators.keys",
        )


class InputError(EdgeNodeError):
    """What came in cannot be used; whoever sent it can mend it."""

    code = "input"


class PayloadInvalid(InputError):
    """A payload that cannot be read."""

    code = "payload_invalid"

    def __init__(self, *, expected: str, came: str, hint: str = "") -> None:
        super().__init__(f"payload: expected {expected}, came {came}", hint=hint, field="payload")


class EnvelopeInvalid(InputError):
    """A request that lacks what it needs."""

    code = "envelope_invalid"

    def __init__(self, field: str, *, expected: str, came: str, hint: str = "") -> None:
        super().__init__(f"{field}: expected {expected}, came {came}", hint=hint, field=field)


class TopicInvalid(InputError):
    """A topic, or a name that is to stand in one, that MQTT or this layout does not allow."""

    code = "topic_invalid"

    def __init__(self, value: str, *, expected: str) -> None:
        super().__init__(f"topic: expected {expected}, came {value!r}", field="topic")


class MeasureInvalid(InputError):
    """A file of documents, questions or right answers to measure by, that cannot be used."""

    code = "measure_invalid"

    def __init__(self, path: Path, *, expected: str, came: str, line: int = 0) -> None:
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: expected {expected}, came {came}", field="measure")


class RecordingInvalid(InputError):
    """A recording of messages that cannot be read, or of which a line is no message."""

    code = "recording_invalid"

    def __init__(self, path: Path, *, expected: str, came: str, line: int = 0) -> None:
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: expected {expected}, came {came}", field="recording")


class TransitionInvalid(InputError):
    """A step that a command cannot take from where it is in its life."""

    code = "transition_invalid"

    def __init__(self, command_id: str, *, expected: str, came: str) -> None:
        super().__init__(f"command {command_id[:80]}: expected {expected}, came {came}", field="command")


class NotPermitted(InputError):
    """Who asks for an operation is not among those who may."""

    code = "not_permitted"

    def __init__(self, user: str, *, operation: str, key: str) -> None:
        super().__init__(
            f"{operation}: expected a user who may, came {user[:80]!r}",
            hint=f"the runtime file names them under {key}",
            field=key,
        )


class SignatureRefused(InputError):
    """An approval that was not signed, not by who gives it, not for this, or before."""

    code = "signature_refused"

    def __init__(self, user: str, *, expected: str) -> None:
        super().__init__(
            f"approval by {user[:80]}: expected {expected}, came none",
            hint="sign it anew with `edge-node approve ID --key FILE`",
            field="signature",
        )


class Denied(InputError):
    """A command that a person approved and the gate does not let through as things are now."""

    code = "denied"
    retryable = True

    def __init__(self, command_id: str, *, rule: str, reason: str) -> None:
        super().__init__(
            f"command {command_id}: expected every rule to hold now as when it was proposed, "
            f"came {rule}: {reason}",
            hint="it still waits; approve it again once the rule holds, before it expires",
            field=rule,
        )


class RequestUnknown(InputError):
    """A request that is not under way, or not this user's."""

    code = "request_unknown"

    def __init__(self, correlation: str) -> None:
        super().__init__(
            f"request: expected one of yours that waits for the model or is being answered, "
            f"came {correlation[:80]!r}",
            hint="it may have been decided already; the correlation is that of the question",
            field="request",
        )


class DecisionUnknown(InputError):
    """Nothing that was decided is kept under an identifier, or more than one thing begins with it."""

    code = "decision_unknown"

    def __init__(self, key: str, *, came: str) -> None:
        super().__init__(
            f"decision {key[:80]!r}: expected the beginning of one identifier of a decision, a command, "
            f"a message or a reply that is still kept, came {came}",
            hint="`edge-node history` lists what is kept",
            field="id",
        )


class ResetRefused(InputError):
    """A reset of the operational stop that does not fit what is latched."""

    code = "reset_refused"

    def __init__(self, *, expected: str, came: str) -> None:
        super().__init__(
            f"reset_stop: expected {expected}, came {came}",
            hint="read the retained state, then reset the stop that it names",
            field="stop_id",
        )


class BusError(EdgeNodeError):
    """The bus cannot be used."""

    code = "bus"


class BrokerUnreachable(BusError):
    """No connection to the broker."""

    code = "broker_unreachable"
    retryable = True

    def __init__(self, address: str, *, reason: str) -> None:
        super().__init__(
            f"broker {address}: expected a connection, came {reason}",
            hint="is the broker running, and do host and port in the configuration match?",
            field="broker",
        )


class BrokerRefused(BusError):
    """The broker answered, and said no."""

    code = "broker_refused"
    exit_status = 78

    def __init__(self, address: str, *, reason: str) -> None:
        super().__init__(
            f"broker {address}: expected to be let in, came {reason!r}",
            hint="check broker.username, broker.password_file and the broker's access list",
            field="broker",
        )


class Withheld(BusError):
    """A command that did not leave, because of an operational stop."""

    code = "withheld"
    retryable = True

    def __init__(self, command_id: str) -> None:
        super().__init__(f"command {command_id}: withheld by an operational stop", field="stop")


class EdgeSilent(BusError):
    """An edge did not answer in time."""

    code = "edge_silent"
    retryable = True

    def __init__(self, edge: str, *, timeout_s: float) -> None:
        super().__init__(
            f"edge {edge}: expected a reply within {timeout_s:g} s, came none",
            hint="is it running? `edge-node run` says so in its log, and its status topic tells",
        )


class OperationRefused(BusError):
    """An edge did not do what it was asked for."""

    code = "operation_refused"

    def __init__(self, operation: str, *, reason: str, hint: str = "") -> None:
        super().__init__(f"{operation}: refused: {reason}", hint=hint)


class DatabaseError(EdgeNodeError):
    """A database file cannot be opened, read or written."""

    code = "database"

    def __init__(self, path: Path, *, reason: str, hint: str = "") -> None:
        super().__init__(f"{self.code} {path}: {reason}", hint=hint, field=self.code)
        self.path = path


class JournalError(DatabaseError):
    """The journal cannot be opened, read or written."""

    code = "journal"


class KnowledgeError(EdgeNodeError):
    """Manuals cannot be read, indexed or searched."""

    code = "knowledge"


class KnowledgeIndexError(DatabaseError, KnowledgeError):
    """The index of the manuals cannot be opened, read or written."""

    code = "knowledge_index"


class DocumentUnreadable(KnowledgeError):
    """One file of a manual cannot be read."""

    code = "document_unreadable"

    def __init__(self, path: Path | str, *, expected: str, came: str, hint: str = "") -> None:
        super().__init__(f"document {path}: expected {expected}, came {came}", hint=hint, field="knowledge")
        self.path = path


class ModelError(EdgeNodeError):
    """A model cannot be found, fetched, built or run."""

    code = "model"


class ModelUnknown(ModelError):
    """No such model in the catalogue."""

    code = "model_unknown"
    exit_status = 78

    def __init__(self, name: str, *, known: Sequence[str]) -> None:
        super().__init__(
            f"model {name!r}: expected one of {', '.join(sorted(known))}",
            hint="`edge-node model list` shows the catalogue",
            field="model",
        )


class ModelMissing(ModelError):
    """A model of the catalogue that is not on this machine yet."""

    code = "model_missing"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"model {name}: not on this machine yet", hint=f"edge-node model pull {name}", field="model"
        )


class ModelCorrupt(ModelError):
    """A file that is not the one the catalogue names."""

    code = "model_corrupt"

    def __init__(self, path: Path, *, expected: str, came: str, hint: str = "") -> None:
        super().__init__(f"model file {path}: expected {expected}, came {came}", hint=hint, field="model")
        self.path = path


class ModelUnavailable(ModelError):
    """None of a model's sources could be fetched."""

    code = "model_unavailable"
    retryable = True

    def __init__(self, name: str, *, tried: Sequence[str]) -> None:
        super().__init__(
            f"model {name}: no source could be fetched; tried " + "; ".join(tried),
            hint="check the network, or put the file at the path that `edge-node model show` names",
            field="model",
        )


class LargerModelFailed(ModelError):
    """The larger model at an address was not reached, not in time, or what came is no answer."""

    code = "larger_model_failed"
    retryable = True

    def __init__(self, name: str, *, came: str) -> None:
        super().__init__(
            f"model {name}: expected a chat completion, came {came}",
            hint="check larger_model in the runtime file and the server there",
            field="larger_model",
        )


class ModelUnsupported(ModelError):
    """An architecture, a tensor type or a file format that cannot be run."""

    code = "model_unsupported"

    def __init__(self, path: Path | str, *, expected: str, came: str) -> None:
        super().__init__(f"model {path}: expected {expected}, came {came}", field="model")


class ContextExceeded(ModelError):
    """A prompt that does not fit the context."""

    code = "context_exceeded"

    def __init__(self, *, tokens: int, limit: int) -> None:
        super().__init__(
            f"prompt: expected at most {limit} tokens, came {tokens}",
            hint="raise model.context or lower knowledge.passages",
            field="prompt",
        )
        self.tokens = tokens
        self.limit = limit


class GrammarInvalid(ModelError):
    """A grammar that does not compile or cannot be satisfied."""

    code = "grammar_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"grammar: {reason}", field="grammar")


class LatchError(EdgeNodeError):
    """The operational stop cannot be read from the disk, or written to it."""

    code = "stop_latch"

    def __init__(self, path: Path, *, reason: str) -> None:
        super().__init__(f"stop latch {path}: {reason}", hint="the disk may be full or failing", field="stop")
        self.path = path


class Unavailable(EdgeNodeError):
    """Something optional is not installed."""

    code = "unavailable"

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(f"{what} is not installed", hint=hint)


class Busy(EdgeNodeError):
    """Too much waits for the model already."""

    code = "busy"
    retryable = True

    def __init__(self, *, waiting: int) -> None:
        super().__init__(
            f"queue: expected room, came a request behind {waiting} others",
            hint="ask again in a while",
            field="limits.queue",
        )


class DeadlinePassed(EdgeNodeError):
    """A request whose deadline passed before it was decided: nothing is done about it any more."""

    code = "deadline"
    retryable = True

    def __init__(self, *, late_s: float) -> None:
        super().__init__(
            f"deadline: expected a decision by then, came none by {late_s:.1f} s after it; nothing was done",
            hint="ask again, or give more time with `deadline` in the request or model.deadline",
            field="model.deadline",
        )


class Superseded(EdgeNodeError):
    """An alarm that came again, from the same trigger and device, while it waited for the model."""

    code = "superseded"

    def __init__(self, *, trigger: str, device: str, by: str) -> None:
        super().__init__(
            f"{trigger} of {device}: it fired again while this one waited for the model; "
            f"the later one counts: {by}"
        )
        self.by = by


class Withdrawn(EdgeNodeError):
    """A request that its user has taken back before it was decided."""

    code = "cancelled"

    def __init__(self, *, user: str) -> None:
        super().__init__(f"cancelled by {user} before it was decided; nothing was done")


class Interrupted(EdgeNodeError):
    """The service ends while the model runs; the message keeps its place in the journal."""

    code = "interrupted"
    retryable = True

    def __init__(self) -> None:
        super().__init__("the edge ends; the request is taken up again when it starts")


class InternalFault(EdgeNodeError):
    """A fault of edge_node itself; the log has the trace."""

    code = "internal"

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"edge_node failed with {kind} on this message", hint="the log of the service holds the trace"
        )


class SiteNotReady(EdgeNodeError):
    """The runtime of a demo or a benchmark did not get ready."""

    code = "site_not_ready"

    def __init__(self, log_file: Path, *, last_words: str) -> None:
        super().__init__(
            f"runtime: expected it to get ready, came: {last_words or 'nothing'}",
            hint=f"the log is {log_file}",
        )

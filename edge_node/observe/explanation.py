"""A decision in plain words, in the order in which a message meets the stages.

Pure functions from what is kept of a decision to lines; knows no table, no bus and no terminal.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LABEL = 12
_SHOWN = 400
_PASSAGE = 160
_TIERS = {
    "rule": "by what the node file says of the trigger",
    "template": "as a sentence of the node file",
    "model": "by the language model",
}
_OUTCOMES = {
    "allowed": "allowed",
    "denied": "denied",
    "needs_approval": "a person has to approve",
}
_VALUE = re.compile(r"\b([a-z][a-z0-9_]*) = ([^,()]+)(?=,|\)|$)")


def explained(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that tell one decision, from its message to what became of it."""
    decision = document["decision"]
    if decision is None:
        yield from _undecided(document["message"])
        return
    yield _headline(decision)
    yield ""
    yield from _message(decision.get("message") or document["message"], decision["request"])
    yield from _devices(decision)
    yield from _request(decision)
    yield from _passages(decision["passages"])
    yield from _model(decision["model"])
    yield from _understood(decision)
    yield from _gate(decision)
    yield from _command(decision, document["command"])
    yield from _answer(decision["draft"])
    spent = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in decision["stages_ms"].items())
    yield from _block("times", [spent])
    made_by = decision.get("made_by") or {}
    yield from _block("decided by", [f"{name} {which}" for name, which in made_by.items()])


def listed(summary: Mapping[str, Any]) -> str:
    """Return the line of one decision in a history."""
    who = summary["user"] or f"{summary['trigger']} {summary['device']}".strip()
    return f"{summary['id']}  {_day(summary['at'])}  {summary['node'] or '-'}  {who}: {_outcome(summary)}"


def _outcome(summary: Mapping[str, Any]) -> str:
    said = _one_line(summary["said"], limit=80)
    if summary["command"]:
        call = _call(summary["command"], summary["arguments"])
        rule = f" by {summary['rule']}" if summary["outcome"] == "denied" else ""
        return f"{said} → {call} {summary['state'].replace('_', ' ')}{rule}"
    if summary["draft"] == "AnswerDraft":
        return f"{said} → {'answered' if summary['found'] else 'not in the manuals'}"
    return f"{said} → nothing ({summary['code']})"


def _headline(decision: Mapping[str, Any]) -> str:
    request, draft, verdict = decision["request"], decision["draft"], decision["verdict"]
    head = (
        f"{request['id']}, {_day(request['created_at'])}, {draft.get('node') or request['node'] or 'no node'}"
    )
    if verdict:
        call = _call(draft.get("name", ""), draft.get("arguments", {}))
        return f"{head}: {call} {_verdict(verdict, decision)}"
    if draft["type"] == "AnswerDraft":
        return f"{head}: {'answered' if draft['quotations'] else 'the manuals do not tell'}"
    return f"{head}: nothing was done: {draft.get('reason', '')}"


def _verdict(verdict: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    outcome = _OUTCOMES[verdict["outcome"]]
    rules = _dicts(verdict["rules"])
    if verdict["outcome"] == "allowed" or not rules:
        return outcome
    return f"{outcome} by {rules[-1]['rule']}: {_aged(rules[-1]['reason'], decision)}"


def _message(message: Mapping[str, Any] | None, request: Mapping[str, Any]) -> Iterator[str]:
    if message is None:
        kept = f"message {request['message_id']} is not kept any more" if request["message_id"] else "none"
        yield from _block("message", [f"{kept}; time passed"])
        return
    retained = ", retained" if message["retained"] else ""
    size = f", {message['bytes']} bytes in {message['encoding']}"
    yield from _block(
        "message",
        [
            f"{message['topic']}, {_clock(message['received_at'])}, QoS {message['qos']}{retained}{size}",
            _one_line(message["payload"]),
        ],
    )


def _undecided(message: Mapping[str, Any]) -> Iterator[str]:
    ends = {"open": "is not finished yet", "duplicate": "came before, or is another edge's"}
    end = ends.get(message["state"], "led to no decision")
    reason = f" ({message['reason']})" if message["reason"] else ""
    yield f"message {message['id']} {end}{reason}"
    yield ""
    yield from _message(message, {})


def _devices(decision: Mapping[str, Any]) -> Iterator[str]:
    told = []
    for device, fields in decision["states"].items():
        ages = _ages(decision, device)
        values = [f"{name} {_value(value)}{ages.get(name, '')}" for name, value in fields.items()]
        told.append(f"{device}: {', '.join(values) or 'nothing that is fresh'}")
    yield from _block("devices", told)


def _request(decision: Mapping[str, Any]) -> Iterator[str]:
    request = decision["request"]
    if not request["trigger"]:
        node = f" to {request['node']}" if request["node"] else ""
        yield from _block("asked", [f"{request['user']}{node}: {_one_line(request['text'])}"])
        return
    evidence = request.get("evidence") or {}
    said = [f"{key} {_value(evidence[key])}" for key in ("when", "for", "until", "absent") if key in evidence]
    values = evidence.get("values", {})
    seen = [f"{name} = {_value(value)}" for name, value in values.items() if not isinstance(value, dict)]
    windows = evidence.get("windows", {}).items()
    seen += [f"{name} = {'unknown' if value is None else _value(value)}" for name, value in windows]
    yield from _block(
        "trigger",
        [
            f"{request['trigger']} of {request['device']}: {', '.join(said)}",
            *([f"it saw {', '.join(seen)}"] if seen else []),
            _one_line(request["text"]),
        ],
    )


def _understood(decision: Mapping[str, Any]) -> Iterator[str]:
    draft, matter = decision["draft"], decision.get("matter")
    told = []
    if matter:
        names = ", ".join(map(str, matter["commands"]))
        wanted = "words of the manuals" if matter["question"] else f"one of {names or 'no command'}, or none"
        told.append(f"the cheap tiers left it to the model: {wanted}")
    if draft["type"] == "CommandDraft":
        tier = _TIERS.get(draft["origin"], draft["origin"])
        call = _call(draft["name"], draft["arguments"])
        told.append(f"{call}, {tier}, confidence {draft['confidence']:.2f}")
    elif draft["type"] == "NothingDraft":
        told.append(f"{draft['code']}: {_one_line(draft['reason'])}")
    yield from _block("understood", told)


def _passages(passages: Sequence[Any]) -> Iterator[str]:
    yield from _block(
        "passages",
        [
            f"{each['file']}:{each['first_line']}-{each['last_line']}, score {each['score']:.4f},"
            f" similarity {each['similarity']:.2f}: {_one_line(each['text'], limit=_PASSAGE)}"
            for each in _dicts(passages)
        ],
    )


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    if not model:
        return
    told = []
    if "waited_ms" in model:
        told.append(f"waited {model['waited_ms']:.1f} ms for its turn")
    if model.get("left_out"):
        unseen = ", ".join(f"{count} {what}" for what, count in model["left_out"].items())
        told.append(f"was not shown, for want of room: {unseen}")
    if "tokens" in model:
        told.append(
            f"{model['prompt_tokens']} tokens read ({model['cached_tokens']} from the cache),"
            f" {model['tokens']} written ({model['forced_tokens']} without a choice),"
            f" probability {math.exp(float(model['log_probability'])):.2f}"
        )
    told += [f"{turn['role']}: {_one_line(turn['content'])}" for turn in _dicts(model.get("prompt", ()))]
    if "text" in model:
        told.append(f"it wrote: {_one_line(model['text'])}")
    told += [f"{key}: {_one_line(str(model[key]))}" for key in ("telling", "chosen") if key in model]
    yield from _block("model", told)
    yield from _larger(model.get("larger_model"))


def _larger(larger: Mapping[str, Any] | None) -> Iterator[str]:
    if not larger:
        return
    told = [str(larger["model"])]
    told += [
        f"{key}: {_one_line(str(larger[key]))}" for key in ("failed", "skipped", "text") if key in larger
    ]
    told += [f"{turn['role']}: {_one_line(turn['content'])}" for turn in _dicts(larger.get("prompt", ()))]
    yield from _block("larger model", told)


def _gate(decision: Mapping[str, Any]) -> Iterator[str]:
    verdict = decision["verdict"]
    if not verdict:
        return
    yield from _block("gate", [_verdict(verdict, decision), *_rules(verdict["rules"], decision)])


def _command(decision: Mapping[str, Any], command: Mapping[str, Any] | None) -> Iterator[str]:
    first = decision["command"]
    if first is None:
        return
    if command is None:
        yield from _block("command", [f"{first['id']}: what became of it is not kept any more"])
        return
    told = [command["id"]]
    if command["topic"]:
        told.append(f"{command['topic']} {_one_line(command['payload'])}")
    expectation = command["expectation"]
    if expectation:
        wanted = f"{expectation['field']} = {_value(expectation['value'])}"
        told.append(f"expected of the device: {wanted} within {expectation['within_s']:g} s")
    if command.get("task"):
        told.append(f"one of several, under {command['task']}")
    for step in command["life"]:
        detail = f": {step['detail']}" if step["detail"] else ""
        told.append(f"{_clock(step['at'])} {step['state'].replace('_', ' ')}{detail}")
    yield from _block("command", told)
    yield from _refusals(command.get("refusals") or ())
    yield from _approval(command.get("approval"), decision)


def _refusals(refusals: Sequence[Any]) -> Iterator[str]:
    """Yield who wanted to let a command go and was not let."""
    yield from _block(
        "refused",
        [
            f"the approval by {each['user']} at {_clock(each['at'])}, by {each['rule']}:"
            f" {_one_line(each['reason'])}"
            for each in _dicts(refusals)
        ],
    )


def _approval(approval: Mapping[str, Any] | None, decision: Mapping[str, Any]) -> Iterator[str]:
    """Yield who let a command go, and what the gate said then."""
    if not approval:
        return
    signed = ", signed" if approval["signed"] else ""
    told = [f"by {approval['user']} at {_clock(approval['at'])}{signed}; judged again then:"]
    yield from _block("approval", [*told, *_rules(approval["rules"], decision)])


def _rules(rules: Sequence[Any], decision: Mapping[str, Any]) -> list[str]:
    return [
        f"{'yes' if rule['passed'] else 'NO '} {rule['rule']}: {_aged(rule['reason'], decision)}"
        for rule in _dicts(rules)
    ]


def _answer(draft: Mapping[str, Any]) -> Iterator[str]:
    if draft["type"] != "AnswerDraft":
        return
    quoted = [
        f"“{_one_line(each['text'])}” ({each['file']}:{each['first_line']}-{each['last_line']})"
        for each in _dicts(draft["quotations"])
    ]
    yield from _block("answer", quoted or ["that is not in the manuals"])


def _block(label: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield lines behind a label; nothing where there are none."""
    for number, line in enumerate(each for each in lines if each):
        yield f"{label if number == 0 else '':{_LABEL}}{line}"


def _ages(decision: Mapping[str, Any], device: str) -> dict[str, str]:
    """Return how old each value of a device was when it counted, in brackets."""
    times = (decision.get("times") or {}).get(device, {})
    at = decision["request"]["created_at"]
    return {
        name: f" ({max(0.0, at - heard_at):.0f} s old)"
        for name, heard_at in times.items()
        if isinstance(heard_at, int | float)
    }


def _aged(reason: str, decision: Mapping[str, Any]) -> str:
    """Return the reason of a rule with the age of each value that it names."""
    ages: dict[str, str] = {}
    for device in decision["states"]:
        ages = {**_ages(decision, device), **ages}
    return _VALUE.sub(lambda found: found[0] + ages.get(found[1], ""), reason)


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key} = {_value(value)}' for key, value in arguments.items())})"


def _value(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _one_line(text: str, *, limit: int = _SHOWN) -> str:
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _dicts(items: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return the objects of a list, without the remark that some were cut."""
    return [item for item in items if isinstance(item, dict)]


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3] + "Z"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")

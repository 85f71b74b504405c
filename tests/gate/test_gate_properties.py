from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig
from edge_node.gate import PolicyGate
from edge_node.messages import CommandDraft, Message, Origin, Outcome, Request, RequestKind
from edge_node.twin import DeviceTwin

NAMES = ("a", "b", "c")
NUMBERS = st.one_of(st.integers(-20, 20), st.floats(-20, 20, allow_nan=False))


@st.composite
def argument(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["integer", "number", "string", "boolean", "enum"]))
    if kind == "enum":
        return {"type": "string", "enum": draw(st.lists(st.text("xyz", max_size=2), min_size=1, max_size=3))}
    made: dict[str, Any] = {"type": kind}
    if kind in ("integer", "number"):
        low, high = sorted((draw(st.integers(-10, 10)), draw(st.integers(-10, 10))))
        made |= {"minimum": float(low)} if draw(st.booleans()) else {}
        made |= {"maximum": float(high)} if draw(st.booleans()) else {}
    return made


SPECS = st.dictionaries(st.sampled_from(NAMES), argument(), max_size=3)
VALUES = st.one_of(
    NUMBERS,
    st.sampled_from([math.nan, math.inf, -math.inf, 2**70]),
    st.booleans(),
    st.none(),
    st.text("xyz{}/+#\x00\n", max_size=3),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.just("a"), st.integers(), max_size=1),
)
ARGUMENTS = st.dictionaries(st.sampled_from([*NAMES, "d"]), VALUES, max_size=4)


def judge(spec: dict[str, Any], arguments: dict[str, Any], *, require: tuple[str, ...] = ()) -> Outcome:
    command = {
        "description": "d",
        "args": spec,
        "publish": {"topic": "t/{a}" if "a" in spec else "t", "payload": 1},
        "require": list(require),
    }
    listen = [{"topic": "here", "fields": {"a": "a", "z": "z"}}]
    document = {"edge_node": 1, "name": "n", "ask": True, "listen": listen, "commands": {"go": command}}
    nodes = [Node(NodeConfig.model_validate(document), Path())]
    twin = DeviceTwin(nodes, limits=LimitsConfig(), clock=lambda: 0.0)
    twin.observe(Message("m", "here", b'{"a": 1, "z": 1}', 0.0))
    gate = PolicyGate(nodes, twin=twin, last_issued=lambda *_: None, clock=lambda: 0.0)
    request = Request("r", RequestKind.ASK, "m", 0.0)
    return gate.judge(CommandDraft("n", "go", arguments, Origin.MODEL), request).outcome


def is_within_schema(spec: dict[str, Any], arguments: dict[str, Any]) -> bool:
    schema = {
        "type": "object",
        "properties": spec,
        "required": list(spec),
        "additionalProperties": False,
    }
    finite = all(math.isfinite(value) for value in arguments.values() if isinstance(value, float))
    return finite and jsonschema.Draft202012Validator(schema).is_valid(arguments)


@given(spec=SPECS, arguments=ARGUMENTS)
def test_nothing_outside_the_schema_is_ever_allowed(spec: dict[str, Any], arguments: dict[str, Any]) -> None:
    if judge(spec, arguments) is not Outcome.DENIED:
        assert is_within_schema(spec, arguments)
        assert not set(str(arguments.get("a", ""))) & set("/+#\x00\n") or "a" not in spec


@given(data=st.data(), spec=SPECS)
def test_arguments_within_the_schema_are_not_denied(data: st.DataObject, spec: dict[str, Any]) -> None:
    arguments = {}
    for name, each in spec.items():
        low, high = each.get("minimum", -50), each.get("maximum", 50)
        arguments[name] = data.draw(
            {
                "integer": st.integers(int(low), int(high)),
                "number": st.floats(low, high),
                "boolean": st.booleans(),
                "string": st.sampled_from([word for word in each.get("enum", ["word"]) if word] or ["-"]),
            }[each["type"]]
        )

    expected = Outcome.ALLOWED if is_within_schema(spec, arguments) else Outcome.DENIED
    assert judge(spec, arguments) is expected


@given(
    spec=SPECS,
    arguments=ARGUMENTS,
    require=st.lists(
        st.sampled_from(["z > 5", "missing > 1", "z > 'x'", "z", "a > 100 && z > 5"]), min_size=1
    ),
)
def test_no_arguments_lift_a_requirement_that_does_not_hold(
    spec: dict[str, Any], arguments: dict[str, Any], require: list[str]
) -> None:
    assert judge(spec, arguments, require=tuple(require)) is Outcome.DENIED

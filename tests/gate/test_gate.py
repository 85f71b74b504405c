from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig, OperatorsConfig
from edge_node.errors import ConditionInvalid
from edge_node.gate import PolicyGate
from edge_node.messages import CommandDraft, Message, Origin, Outcome, Request, RequestKind, Verdict
from edge_node.twin import DeviceTwin

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOWED, DENIED, NEEDS_APPROVAL = Outcome.ALLOWED, Outcome.DENIED, Outcome.NEEDS_APPROVAL
ARGUMENTS = {
    "pump": {"device": True},
    "percent": {"type": "integer", "minimum": 0, "maximum": 100, "unit": "percent"},
}


def command(**changes: Any) -> dict[str, Any]:
    return {
        "description": "Change the speed of a pump.",
        "args": ARGUMENTS,
        "publish": {"topic": "plant/{pump}/set", "payload": {"speed": "{percent}"}},
        "expect": {"field": "speed", "equals": "percent"},
        **changes,
    }


class Hall:
    """A gate over a real twin; `issued` is when commands were issued last."""

    def __init__(
        self, *, ask: bool = True, operators: dict[str, Any] | None = None, **commands: dict[str, Any]
    ) -> None:
        self.now = 1000.0
        self.stopped = ""
        self.issued: dict[tuple[str, str, str], float] = {}
        self.within_the_hour: list[float] = []
        spec = {
            "edge_node": 1,
            "name": "pump-guard",
            "ask": ask,
            "listen": [
                {"topic": "plant/{pump}/telemetry", "fields": {"speed": "speed", "bearing_c": "c"}},
                {"topic": "plant/hall", "fields": {"speed": "speed"}},
            ],
            "triggers": {
                "overheating": {"when": "bearing_c > 85", "do": {"set_speed": {"percent": 30}}},
                "shaking": {"when": "bearing_c > 70", "choose": ["set_speed"]},
                "silent": {"absent": "2m"},
            },
            "commands": commands or {"set_speed": command()},
        }
        nodes = [Node(NodeConfig.model_validate(spec), Path())]
        self.twin = DeviceTwin(nodes, limits=LimitsConfig(), clock=lambda: self.now)
        self.gate = PolicyGate(
            nodes,
            twin=self.twin,
            last_issued=lambda node, name, device: self.issued.get((node, name, device)),
            issued=lambda *_: self.within_the_hour,
            operators=OperatorsConfig.model_validate(operators or {}),
            stopped=lambda _: self.stopped,
            clock=lambda: self.now,
        )

    def report(self, topic: str = "plant/pump-1/telemetry", *, retained: bool = False, **fields: Any) -> None:
        self.twin.observe(Message("m", topic, json.dumps(fields).encode(), self.now, retained=retained))

    def judge(
        self,
        arguments: dict[str, Any] | None = None,
        *,
        name: str = "set_speed",
        origin: Origin = Origin.TEMPLATE,
        request: Request | None = None,
    ) -> Verdict:
        given = {"pump": "pump-1", "percent": 40} if arguments is None else arguments
        return self.gate.judge(CommandDraft("pump-guard", name, given, origin), request or asked())


def asked(node: str = "") -> Request:
    return Request("r", RequestKind.ASK, "m", 1000.0, node=node, text="…", user="anna")


def alarm(trigger: str, *, node: str = "pump-guard") -> Request:
    return Request("r", RequestKind.ALARM, "m", 1000.0, node=node, trigger=trigger, device="pump-1")


def hall(*, approve_by: Sequence[str] = (), **changes: Any) -> Hall:
    made = Hall(operators={"approve": list(approve_by)}, set_speed=command(**changes))
    made.report(speed=50, c=60)
    return made


def test_a_good_draft_passes_every_rule_in_order() -> None:
    verdict = hall(require=["device.online"], limit={"every": "2s", "step": 20}).judge()

    assert verdict.outcome is ALLOWED
    assert [each.rule for each in verdict.rules] == [
        "command",
        "arguments",
        "device",
        "caller",
        "require[0]",
        "limit.every",
        "limit.step",
        "stop",
        "approve",
    ]
    assert all(each.passed for each in verdict.rules)


def test_an_unknown_command_or_node_is_denied() -> None:
    verdict = hall().judge(name="explode")
    assert (verdict.outcome, verdict.rule) == (DENIED, "command")
    assert verdict.reason == "command 'explode': expected one of set_speed"

    draft = CommandDraft("pump-gard", "set_speed", {}, Origin.MODEL)
    verdict = hall().gate.judge(draft, asked())
    assert (verdict.outcome, verdict.reason) == (DENIED, "node 'pump-gard': expected one of pump-guard")


def test_orders_are_taken_only_by_a_node_that_says_so() -> None:
    closed = Hall(ask=False)
    closed.report(speed=50)

    assert (closed.judge().outcome, closed.judge().rule) == (DENIED, "caller")
    assert closed.judge(request=alarm("overheating")).outcome is ALLOWED


@pytest.mark.parametrize(
    ("request_", "outcome"),
    [
        (alarm("overheating"), ALLOWED),
        (alarm("shaking"), ALLOWED),
        (alarm("silent"), DENIED),
        (alarm("unheard-of"), DENIED),
        (alarm("overheating", node=""), DENIED),
        (alarm("overheating", node="rover"), DENIED),
        (asked("pump-guard"), ALLOWED),
        (asked("rover"), DENIED),
    ],
)
def test_an_alarm_leads_only_to_commands_its_trigger_names(request_: Request, outcome: Outcome) -> None:
    verdict = hall().judge(request=request_)

    assert verdict.outcome is outcome
    assert outcome is ALLOWED or verdict.rule == "caller"


@pytest.mark.parametrize(
    ("percent", "reason"),
    [
        (150, "percent: expected 0 to 100, came 150 percent"),
        (-1, "percent: expected 0 to 100, came -1 percent"),
        ("40", "percent: expected an integer, 0 to 100, came '40'"),
        (40.0, "percent: expected an integer, 0 to 100, came 40.0 percent"),
        (True, "percent: expected an integer, 0 to 100, came True percent"),
        (float("nan"), "percent: expected an integer, 0 to 100, came nan percent"),
        (None, "percent: expected an integer, 0 to 100, came None"),
        ([40], "percent: expected an integer, 0 to 100, came [40]"),
    ],
)
def test_an_argument_of_another_type_or_range_is_denied_with_what_came(percent: Any, reason: str) -> None:
    verdict = hall().judge({"pump": "pump-1", "percent": percent})

    assert (verdict.outcome, verdict.rule, verdict.reason) == (DENIED, "arguments", reason)


def test_missing_and_unknown_arguments_are_denied() -> None:
    assert hall().judge({"pump": "pump-1"}).reason == "percent: expected an integer, 0 to 100, came nothing"
    assert hall().judge({"pump": "pump-1", "percent": 4, "force": True}).reason == (
        "force: expected an argument of the command (pump, percent), came another one"
    )


@pytest.mark.parametrize("value", ["gate/+", "#", "a/b", "", "x\ny", "x" * 300])
def test_a_text_that_would_change_the_topic_is_denied(value: str) -> None:
    spec = command(
        args={"place": {"type": "string"}}, publish={"topic": "to/{place}", "payload": 1}, expect=None
    )

    verdict = Hall(go=spec).judge({"place": value}, name="go")

    assert (verdict.outcome, verdict.rule) == (DENIED, "arguments")


def test_an_enum_takes_its_own_words_only() -> None:
    spec = command(
        args={"place": {"enum": ["dock", "gate"]}}, publish={"topic": "to", "payload": 1}, expect=None
    )

    assert Hall(go=spec).judge({"place": "dock"}, name="go").outcome is ALLOWED
    assert Hall(go=spec).judge({"place": "moon"}, name="go").reason == (
        "place: expected one of dock, gate, came 'moon'"
    )


def test_a_device_the_twin_does_not_know_is_denied_with_those_it_knows() -> None:
    made = hall()
    made.report("plant/pump-2/telemetry", speed=1)

    verdict = made.judge({"pump": "pump-9", "percent": 40})

    assert (verdict.rule, verdict.reason) == ("device", "pump-9: expected one of pump-1, pump-2")


def test_a_device_that_is_silent_or_known_from_a_retained_message_only_is_denied() -> None:
    made = hall()
    made.now += 61
    assert made.judge().reason == "pump-1: expected to be heard within 60 s, last heard 61 s ago"

    kept = Hall()
    kept.report(retained=True, speed=50)
    assert (kept.judge().outcome, kept.judge().rule) == (DENIED, "device")


def test_requirements_see_fields_arguments_origin_and_device() -> None:
    require = [
        "percent <= 60 || bearing_c < 85",
        "pump == 'pump-1' && device.id == pump && device.online",
        "origin != 'model'",
    ]
    made = hall(require=require)

    assert made.judge().outcome is ALLOWED
    assert made.judge(origin=Origin.MODEL).rule == "require[2]"
    made.report(c=90)
    assert made.judge().outcome is ALLOWED
    verdict = made.judge({"pump": "pump-1", "percent": 80})
    assert (verdict.rule, verdict.reason) == (
        "require[0]",
        "percent <= 60 || bearing_c < 85: does not hold with bearing_c = 90, percent = 80",
    )


def test_an_unknown_value_denies_and_is_named() -> None:
    made = Hall(set_speed=command(require=["bearing_c < 85"]))
    made.report(speed=50)

    verdict = made.judge()

    assert (verdict.outcome, verdict.rule) == (DENIED, "require[0]")
    assert verdict.reason == "bearing_c < 85: unknown, and unknown denies (no value for bearing_c)"


def test_a_hostile_field_denies_where_a_number_is_wanted() -> None:
    made = Hall(set_speed=command(require=["bearing_c < 85"]))
    made.report(speed=50, c="0 || true")

    verdict = made.judge()

    assert (verdict.outcome, verdict.rule) == (DENIED, "require[0]")
    assert "it cannot be told with bearing_c = '0 || true'" in verdict.reason


def test_an_argument_cannot_stand_in_for_the_device_or_the_origin() -> None:
    arguments = {"device": {"device": True}, "origin": {"type": "string"}}
    spec = command(args=arguments, publish={"topic": "x", "payload": 1}, expect=None)
    made = Hall(go={**spec, "require": ["device.online", "origin == 'rule'"]})
    made.report(speed=1)

    assert made.judge({"device": "pump-1", "origin": "rule"}, name="go").rule == "require[1]"


def test_a_command_without_a_device_is_judged_by_the_nodes_own_device() -> None:
    spec = command(args={}, publish={"topic": "x", "payload": 1}, require=["device.online"], expect=None)
    made = Hall(stop=spec)

    verdict = made.judge({}, name="stop")
    assert (verdict.rule, verdict.rules[2].reason) == ("require[0]", "names no device")
    assert "no value for device" in verdict.reason

    made.report("plant/hall", speed=0)
    assert made.judge({}, name="stop").outcome is ALLOWED


def test_every_denies_a_second_command_to_the_same_device_that_comes_too_soon() -> None:
    made = hall(limit={"every": "10s"})
    made.report("plant/pump-2/telemetry", speed=50)
    made.issued["pump-guard", "set_speed", "pump-1"] = made.now
    made.now += 4

    verdict = made.judge()
    assert (verdict.outcome, verdict.rule) == (DENIED, "limit.every")
    assert verdict.reason == "set_speed to pump-1: expected 10 s after the last one, came 4.0 s"
    assert made.judge({"pump": "pump-2", "percent": 40}).outcome is ALLOWED
    made.now += 6
    assert made.judge().outcome is ALLOWED


def test_a_clock_set_back_neither_opens_nor_blocks_the_pace_for_long() -> None:
    made = hall(limit={"every": "10s"})
    made.issued["pump-guard", "set_speed", "pump-1"] = made.now + 3
    assert made.judge().rule == "limit.every"

    made.issued["pump-guard", "set_speed", "pump-1"] = made.now + 3600
    assert made.judge().outcome is ALLOWED


def test_judging_changes_nothing() -> None:
    made = hall(limit={"every": "10s"})

    assert made.judge() == made.judge()


@pytest.mark.parametrize(("percent", "outcome"), [(30, ALLOWED), (70, ALLOWED), (29, DENIED), (71, DENIED)])
def test_step_limits_the_change_from_the_last_report(percent: int, outcome: Outcome) -> None:
    verdict = hall(limit={"step": 20}).judge({"pump": "pump-1", "percent": percent})

    assert verdict.outcome is outcome
    assert outcome is ALLOWED or verdict.reason == (
        f"speed: expected a change of at most 20, came 50 to {percent}"
    )


def test_step_without_a_field_to_step_from_is_denied() -> None:
    assert hall(limit={"step": 20}, expect=None).judge().rule == "limit.step"


@pytest.mark.parametrize("speed", [None, "fast", True])
def test_step_denies_where_the_present_value_is_unknown(speed: Any) -> None:
    made = Hall(set_speed=command(limit={"step": 20}))
    made.report(speed=speed)

    assert (made.judge().outcome, made.judge().rule) == (DENIED, "limit.step")


@pytest.mark.parametrize(
    ("approve", "origin", "outcome"),
    [
        ("never", Origin.MODEL, ALLOWED),
        ("always", Origin.RULE, NEEDS_APPROVAL),
        ("origin == 'model'", Origin.MODEL, NEEDS_APPROVAL),
        ("origin == 'model'", Origin.TEMPLATE, ALLOWED),
        ("nobody_knows > 3", Origin.RULE, NEEDS_APPROVAL),
        ("percent", Origin.RULE, NEEDS_APPROVAL),
    ],
)
def test_approval_is_needed_always_by_condition_and_when_unknown(
    approve: str, origin: Origin, outcome: Outcome
) -> None:
    verdict = hall(approve=approve).judge(origin=origin)

    assert (verdict.outcome, verdict.rule) == (outcome, "approve")


def test_approval_cannot_lift_another_rule() -> None:
    verdict = hall(approve="always").judge({"pump": "pump-1", "percent": 150})

    assert (verdict.outcome, verdict.rule) == (DENIED, "arguments")


def test_a_condition_that_does_not_compile_is_an_error_at_the_start() -> None:
    with pytest.raises(ConditionInvalid):
        hall(require=["percent <="])


def test_a_stop_denies_what_every_other_rule_lets_through_and_asks_nobody() -> None:
    stopped = hall(require=["device.online"], limit={"every": "2s"}, approve="always")
    stopped.stopped = "operational stop by ada: smoke"

    verdict = stopped.judge()

    assert (verdict.outcome, verdict.rule, verdict.reason) == (DENIED, "stop", stopped.stopped)
    assert [each.rule for each in verdict.rules][-2:] == ["limit.every", "stop"]
    assert stopped.judge(name="explode").rule == "command"


def proposed() -> CommandDraft:
    return CommandDraft("pump-guard", "set_speed", {"pump": "pump-1", "percent": 40}, Origin.MODEL)


def test_an_approved_draft_is_judged_by_every_other_rule_again() -> None:
    changing = hall(require=["bearing_c < 85"], approve="always", approve_by=["anna"])
    assert changing.judge().outcome is NEEDS_APPROVAL
    assert changing.gate.judge_approved(proposed(), asked(), proposed_at=1000.0, by="anna").outcome is ALLOWED

    changing.report(speed=50, c=90)
    verdict = changing.gate.judge_approved(proposed(), asked(), proposed_at=1000.0, by="anna")
    assert (verdict.outcome, verdict.rule) == (DENIED, "require[0]")

    changing.report(speed=50, c=60)
    changing.stopped = "operational stop by ada"
    verdict = changing.gate.judge_approved(proposed(), asked(), proposed_at=1000.0, by="anna")
    assert (verdict.outcome, verdict.rule) == (DENIED, "stop")


def test_an_approved_draft_does_not_wait_for_itself_but_for_others() -> None:
    waiting = hall(limit={"every": "10s"}, approve="always", approve_by=["anna"])
    waiting.issued["pump-guard", "set_speed", "pump-1"] = 1000.0
    waiting.now = 1001.0

    assert waiting.gate.judge_approved(proposed(), asked(), proposed_at=1000.0, by="anna").outcome is ALLOWED

    waiting.issued["pump-guard", "set_speed", "pump-1"] = 1000.5
    verdict = waiting.gate.judge_approved(proposed(), asked(), proposed_at=1000.0, by="anna")
    assert (verdict.outcome, verdict.rule) == (DENIED, "limit.every")


def silenced(fields: dict[str, Any], **changes: Any) -> Hall:
    """Return a hall whose pump speaks, and says no more of its speed and its bearing than `fields`."""
    made = Hall(set_speed=command(**changes))
    made.report(speed=50, c=60)
    made.now += 61
    made.report(**{"other": 1, **fields})
    return made


UNKNOWN: list[dict[str, Any]] = [
    {},
    {"c": None, "speed": None},
    {"c": [60], "speed": {}},
    {"c": "60", "speed": "50"},
]


@pytest.mark.parametrize("fields", UNKNOWN)
@pytest.mark.parametrize("condition", ["bearing_c < 85", "!(bearing_c >= 85)", "bearing_c == bearing_c + 0"])
def test_require_denies_where_the_value_is_stale_unusable_or_of_another_type(
    fields: dict[str, Any], condition: str
) -> None:
    verdict = silenced(fields, require=[condition]).judge()

    assert (verdict.outcome, verdict.rule) == (DENIED, "require[0]")
    assert "unknown denies" in verdict.reason


@pytest.mark.parametrize("fields", UNKNOWN)
@pytest.mark.parametrize("condition", ["bearing_c > 85", "!(bearing_c <= 85)"])
def test_a_person_must_approve_where_the_value_is_stale_unusable_or_of_another_type(
    fields: dict[str, Any], condition: str
) -> None:
    verdict = silenced(fields, approve=condition).judge()

    assert (verdict.outcome, verdict.rule) == (NEEDS_APPROVAL, "approve")


@pytest.mark.parametrize("fields", UNKNOWN)
def test_step_denies_where_the_value_is_stale_unusable_or_of_another_type(fields: dict[str, Any]) -> None:
    verdict = silenced(fields, limit={"step": 100}).judge()

    assert (verdict.outcome, verdict.rule) == (DENIED, "limit.step")


def test_a_value_restored_from_before_a_restart_counts_only_while_it_is_fresh() -> None:
    before = hall(require=["bearing_c < 85"])
    rows = before.twin.take_changes(urgent=False)

    for later_s, outcome in ((59, ALLOWED), (61, DENIED)):
        after = Hall(set_speed=command(require=["bearing_c < 85"]))
        after.now += later_s
        after.twin.restore(rows)
        assert after.judge().outcome is outcome


ROLES = {"roles": {"maintenance": ["anna", "ben"], "lead": ["cem"]}, "approve": ["dora"]}


def staffed(**changes: Any) -> Hall:
    made = Hall(operators=ROLES, set_speed=command(**changes))
    made.report(speed=50, c=60)
    return made


def by(user: str) -> Request:
    return Request("r", RequestKind.ASK, "m", 1000.0, text="…", user=user)


@pytest.mark.parametrize(
    ("allow", "user", "allowed"),
    [
        (None, "eve", True),
        (["maintenance"], "anna", True),
        (["maintenance"], "cem", False),
        (["maintenance", "lead"], "cem", True),
        (["maintenance"], "maintenance", False),
        (["maintenance"], "", False),
        (["nobody_has_it"], "anna", False),
        ([], "anna", False),
    ],
)
def test_only_the_roles_that_are_named_may_order(
    allow: list[str] | None, user: str, *, allowed: bool
) -> None:
    verdict = staffed(allow=allow).judge(request=by(user))

    assert (verdict.outcome is ALLOWED) == allowed
    assert verdict.rule == ("approve" if allowed else "caller")


def test_an_alarm_needs_no_role_for_its_own_command() -> None:
    guarded = staffed(allow=["lead"])

    assert guarded.judge(request=alarm("overheating"), origin=Origin.RULE).outcome is ALLOWED


def test_who_may_not_order_may_not_have_it_approved_either() -> None:
    guarded = staffed(allow=["lead"], approve="always")

    verdict = guarded.gate.judge_approved(proposed(), by("anna"), proposed_at=1000.0, by="anna")
    assert (verdict.outcome, verdict.rule) == (DENIED, "caller")


@pytest.mark.parametrize(
    ("approve", "users"),
    [
        ("always", ("dora",)),
        ({"when": "always"}, ("dora",)),
        ({"by": ["maintenance"]}, ("anna", "ben")),
        ({"when": "percent > 30", "by": ["maintenance", "lead"]}, ("anna", "ben", "cem")),
        ({"by": ["nobody_has_it"]}, ()),
    ],
)
def test_those_who_may_approve_are_named(approve: Any, users: tuple[str, ...]) -> None:
    verdict = staffed(approve=approve).judge()

    assert (verdict.outcome, verdict.approvers) == (NEEDS_APPROVAL, users)
    assert verdict.reason.endswith(
        "; who may: " + (" or ".join(users) or "nobody, for the runtime file names none")
    )


def test_a_condition_in_either_spelling_asks_a_person_only_where_it_holds() -> None:
    assert staffed(approve={"when": "percent > 50", "by": ["lead"]}).judge().outcome is ALLOWED
    assert staffed(approve={"when": "never", "by": ["lead"]}).judge().outcome is ALLOWED


def test_a_budget_is_kept_within_each_hour() -> None:
    worn = hall(limit={"per_hour": 3}, approve_by=["anna"])
    worn.now = 10_000.0
    worn.report(speed=50, c=60)
    worn.within_the_hour = [6_399.0, 6_401.0, 9_000.0]
    assert worn.judge().outcome is ALLOWED

    worn.within_the_hour.append(9_999.0)
    verdict = worn.judge()
    assert (verdict.outcome, verdict.rule) == (DENIED, "limit.per_hour")
    assert verdict.reason == "set_speed: expected at most 3 within an hour, came 3 before it"
    assert worn.judge(request=alarm("overheating"), origin=Origin.RULE).outcome is ALLOWED
    # What waits for a person counts once it is sent: by then the hour may be full.
    verdict = worn.gate.judge_approved(proposed(), asked(), proposed_at=9_000.0, by="anna")
    assert (verdict.outcome, verdict.rule) == (DENIED, "limit.per_hour")
    worn.within_the_hour.pop()
    verdict = worn.gate.judge(proposed(), asked(), beside=[proposed()])
    assert (verdict.outcome, verdict.rule) == (DENIED, "limit.per_hour")

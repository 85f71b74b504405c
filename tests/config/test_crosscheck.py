from __future__ import annotations

from typing import Any

import pytest

from edge_node.config.load import load_node
from edge_node.errors import ConfigurationInvalid, Problem


def only_problem(plant: Any) -> Problem:
    with pytest.raises(ConfigurationInvalid) as caught:
        load_node(plant.node)
    assert len(caught.value.problems) == 1, str(caught.value)
    return caught.value.problems[0]


SPEED_ARGS = "device, mode, origin, percent, pump, speed, bearing_c"


@pytest.mark.parametrize(
    ("old", "new", "key", "expected", "came", "hint"),
    [
        # conditions
        (
            "when: bearing_c > 85",
            "when: bearing_c >",
            "triggers.hot.when",
            "a condition in CEL",
            "'bearing_c >' (string), at character 12: the expression ends too early",
            "",
        ),
        (
            "when: bearing_c > 85",
            "when: bering_c > 85",
            "triggers.hot.when",
            "a condition over known values: bearing_c, device, speed",
            "'bering_c'",
            "did you mean 'bearing_c'?",
        ),
        (
            "when: bearing_c > 85",
            "when: count(bearing_c > 1 && 1 > 'hot', 1m) > 5",
            "triggers.hot.when",
            "values that can be compared",
            "\"count(bearing_c > 1 && 1 > 'hot', 1m) > 5\" (string): '>' compares a number with a text",
            "",
        ),
        (
            "when: bearing_c > 85",
            "when: count(bearing_c - 5, 1m) > 5",
            "triggers.hot.when",
            "values that can be compared",
            "'count(bearing_c - 5, 1m) > 5' (string): count() wants true or false, came a number",
            "",
        ),
        (
            "when: bearing_c > 85",
            "when: count(bering_c > 85, 1m) > 5",
            "triggers.hot.when",
            "a condition over known values: bearing_c, device, speed",
            "'bering_c'",
            "did you mean 'bearing_c'?",
        ),
        (
            "when: bearing_c > 85",
            "when: count(avg(bearing_c, 10s) > 85, 1m) > 5",
            "triggers.hot.when",
            "a condition in CEL",
            "'count(avg(bearing_c, 10s) > 85, 1m) > 5' (string), count() looks through avg(), a window too",
            "",
        ),
        (
            "when: bearing_c > 85",
            "when: new_pattern(bearing_c)",
            "triggers.hot.when",
            "a condition in CEL",
            "'new_pattern(bearing_c)' (string), new_pattern() is written new_pattern(field, 10m)",
            "",
        ),
        (
            "until: bearing_c < 80",
            "until: percent < 80",
            "triggers.hot.until",
            "a condition over known values: bearing_c, device, speed",
            "'percent'",
            "",
        ),
        (
            "- percent <= 60 ||",
            "- percnt <= 60 ||",
            "commands.set_speed.require[1]",
            "a condition over known values: bearing_c, device, mode, origin, percent, pump, speed",
            "'percnt'",
            "did you mean 'percent'?",
        ),
        (
            "approve: origin == 'model'",
            "approve: allways",
            "commands.set_speed.approve",
            "a condition over known values: bearing_c, device, mode, origin, percent, pump, speed",
            "'allways'",
            "",
        ),
        # topics and fields
        (
            "topic: plant/{pump}/telemetry",
            "topic: plant/x{pump}/telemetry",
            "listen[0].topic",
            "a topic with a name in braces or a wildcard to fill its whole level",
            "'plant/x{pump}/telemetry'",
            "",
        ),
        (
            "      speed: speed\n",
            "      speed: a..b\n",
            "listen[0].fields.speed",
            "keys joined by dots, or '$'",
            "'a..b'",
            "",
        ),
        (
            "      speed: speed\n",
            "      speed: speed\n      device: id\n",
            "listen[0].fields.device",
            "a field name of your own",
            "'device', which is built in",
            "",
        ),
        (
            "      speed: speed\n",
            "      speed: speed\n      mode: m\n",
            "listen[0].fields.mode",
            "a field name that no argument has",
            "'mode', also an argument of commands.set_speed",
            "a condition could not tell the two apart",
        ),
        # triggers
        (
            "    absent: 2m\n",
            "    absent: 2m\n    when: speed > 1\n",
            "triggers.silent",
            "either 'when' or 'absent'",
            "both",
            "",
        ),
        ("    absent: 2m\n", "", "triggers.silent", "either 'when' or 'absent'", "neither", ""),
        (
            "    absent: 2m\n",
            "    absent: 2m\n    for: 3s\n",
            "triggers.silent.for",
            "'for' beside a 'when' only",
            "no 'when'",
            "",
        ),
        (
            "    absent: 2m\n",
            "    absent: 2m\n    until: speed > 1\n",
            "triggers.silent.until",
            "'until' beside a 'when' only",
            "no 'when'",
            "",
        ),
        (
            "    for: 5s\n",
            "    for: 5s\n    choose: [set_speed]\n",
            "triggers.hot.choose",
            "either 'do' or 'choose'",
            "both",
            "",
        ),
        (
            "choose: [set_speed]",
            "choose: [set_sped]",
            "triggers.silent.choose[0]",
            "a command: set_speed",
            "'set_sped'",
            "did you mean 'set_speed'?",
        ),
        (
            "choose: [set_speed]",
            "choose: []",
            "triggers.silent.choose",
            "at least one command",
            "an empty list",
            "",
        ),
        (
            "do: {set_speed: {",
            "do: {stop: {}, set_speed: {",
            "triggers.hot.do",
            "exactly one command",
            "2 commands",
            "",
        ),
        (
            "do: {set_speed: {",
            "do: {set_sped: {",
            "triggers.hot.do.set_sped",
            "a command: set_speed",
            "'set_sped'",
            "did you mean 'set_speed'?",
        ),
        (
            '{pump: "{pump}", percent: 30}',
            '{pump: "{pump}"}',
            "triggers.hot.do.set_speed",
            "the argument 'percent'",
            "nothing",
            "it has no default",
        ),
        (
            '{pump: "{pump}", percent: 30}',
            '{pump: "{pump}", percent: 130}',
            "triggers.hot.do.set_speed.percent",
            "an integer from 0 up to 100",
            "130 (integer)",
            "",
        ),
        (
            '{pump: "{pump}", percent: 30}',
            '{pump: "{pump}", percent: 30, rate: 1}',
            "triggers.hot.do.set_speed.rate",
            "an argument of the command: mode, percent, pump",
            "'rate'",
            "",
        ),
        (
            '{pump: "{pump}", percent: 30}',
            '{pump: "{pum}", percent: 30}',
            "triggers.hot.do.set_speed.pump",
            "a known name in braces: bearing_c, device, pump, speed",
            "'{pum}'",
            "did you mean 'pump'?",
        ),
        (
            '{pump: "{pump}", percent: 30}',
            '{pump: "a/b", percent: 30}',
            "triggers.hot.do.set_speed.pump",
            "the name of a device",
            "'a/b' (string)",
            "",
        ),
        (
            "is at {bearing_c}",
            "is at {bearing}",
            "triggers.hot.say",
            "a known name in braces: bearing_c, device, pump, speed",
            "'{bearing}'",
            "did you mean 'bearing_c'?",
        ),
        # arguments
        (
            "minimum: 0, maximum: 100",
            "minimum: 30, maximum: 20",
            "commands.set_speed.args.percent.maximum",
            "at least the minimum of 30",
            "20",
            "",
        ),
        (
            "minimum: 0, maximum: 100",
            "maximum: 100, default: 101",
            "commands.set_speed.args.percent.default",
            "an integer up to 100",
            "101 (integer)",
            "",
        ),
        (
            "default: soft",
            "default: softly",
            "commands.set_speed.args.mode.default",
            "one of 'soft', 'hard'",
            "'softly' (string)",
            "",
        ),
        (
            "mode: {type: string,",
            "mode: {type: string, relative: {step: 1, field: speed},",
            "commands.set_speed.args.mode.relative",
            "'relative' for an integer or a number only",
            "the type string",
            "",
        ),
        (
            "minimum: 0, maximum: 100",
            "minimum: 0, maximum: 100, relative: {field: sped}",
            "commands.set_speed.args.percent.relative.field",
            "a field: bearing_c, speed",
            "'sped'",
            "did you mean 'speed'?",
        ),
        (
            "minimum: 0, maximum: 100",
            "minimum: 0, relative: {field: speed}",
            "commands.set_speed.args.percent.relative",
            "'step', or a minimum and a maximum to take a tenth of",
            "neither",
            "",
        ),
        (
            "mode: {type: string,",
            "mode: {type: string, minimum: 1,",
            "commands.set_speed.args.mode.minimum",
            "'minimum' for an integer or a number only",
            "the type string",
            "",
        ),
        (
            "pump: {device: true}",
            "pump: {device: true, type: string}",
            "commands.set_speed.args.pump",
            "either 'type' or 'device: true'",
            "both",
            "",
        ),
        # examples
        (
            "slow {pump} to {percent}",
            "slow {pump}",
            "commands.set_speed.examples[0]",
            "the argument {percent}",
            "'slow {pump}' (string)",
            "say {percent} in it, or give the argument a default",
        ),
        (
            "slow {pump} to {percent}",
            "slow {pump} to {percent} {moode}",
            "commands.set_speed.examples[0]",
            "arguments in braces: mode, percent, pump",
            "'{moode}'",
            "did you mean 'mode'?",
        ),
        # publish
        (
            "topic: plant/{pump}/set",
            "topic: plant/{pmp}/set",
            "commands.set_speed.publish.topic",
            "a known name in braces: mode, percent, pump",
            "'{pmp}'",
            "did you mean 'pump'?",
        ),
        (
            "topic: plant/{pump}/set",
            "topic: plant/+/set",
            "commands.set_speed.publish.topic",
            "a topic with no wildcard and no control character",
            "'plant/+/set'",
            "",
        ),
        (
            "topic: plant/{pump}/set",
            "topic: edge/v1/{pump}/stop",
            "commands.set_speed.publish.topic",
            "a device's topic, outside edge/v1 and $",
            "'edge/v1/{pump}/stop'",
            "",
        ),
        (
            'speed: "{percent}"',
            'speed: "{percnt}"',
            "commands.set_speed.publish.payload.speed",
            (
                "a known name in braces: bearing_c, command_count, command_id, command_time, mode, percent, "
                "pump, speed"
            ),
            "'{percnt}'",
            "did you mean 'percent'?",
        ),
        (
            'speed: "{percent}"',
            "speed: {percent}",
            "commands.set_speed.publish.payload.speed",
            "'{percent}' in quotes",
            "{percent} without",
            "YAML takes it for a mapping",
        ),
        # expectations and limits
        (
            "field: speed, equals",
            "field: sped, equals",
            "commands.set_speed.expect.field",
            "a field: bearing_c, speed",
            "'sped'",
            "did you mean 'speed'?",
        ),
        (
            "equals: percent",
            'equals: "{percent}"',
            "commands.set_speed.expect.equals",
            "the name of an argument",
            "'{percent}'",
            "leave the braces out",
        ),
        (
            "equals: percent",
            "equals: mode",
            "commands.set_speed.limit.step",
            "'step' where 'expect' equals a number",
            "'mode' (string)",
            "",
        ),
        # manuals
        (
            "- manual/*.md",
            "- manual/*.pdf",
            "knowledge[0]",
            "a pattern that matches a file",
            "'manual/*.pdf', which matches none",
            None,
        ),
        (
            "- manual/*.md",
            "- ../../**/*.md",
            "knowledge[0]",
            "a pattern inside the node's folder",
            "'../../**/*.md'",
            "",
        ),
        ("- manual/*.md", "- /etc/*", "knowledge[0]", "a pattern inside the node's folder", "'/etc/*'", ""),
        (
            "- manual/*.md",
            "- manual",
            "knowledge[0]",
            "a pattern that matches a file",
            "'manual', which matches none",
            None,
        ),
    ],
)
def test_what_does_not_fit_together_is_told_with_line_and_key(
    plant: Any, old: str, new: str, key: str, expected: str, came: str, hint: str | None
) -> None:
    line = plant.change_node(old, new)
    text = plant.node.read_text()
    # A changed line may have gained lines below it: the problem is then on the line of its key.
    last = key.rsplit(".", 1)[-1].split("[", maxsplit=1)[0]
    lines = {number for number, words in enumerate(text.split("\n"), 1) if f"{last}:" in words}

    problem = only_problem(plant)

    assert (problem.file, problem.key) == (str(plant.node), key)
    assert problem.line in lines | {line}
    assert abs(problem.line - line) <= 2
    assert (problem.expected, problem.came) == (expected, came)
    assert hint is None or problem.hint == hint


def test_an_empty_topic_is_refused(plant: Any) -> None:
    plant.change_node("stale: 30s", "  - topic: ''\n    fields: {rpm: rpm}\nstale: 30s")

    problem = only_problem(plant)

    assert (problem.key, problem.expected, problem.came) == ("listen[1].topic", "a topic", "an empty string")


def test_a_wildcard_without_a_name_leaves_the_device_open(plant: Any) -> None:
    plant.change_node("plant/{pump}/telemetry", "plant/+/telemetry")
    plant.change_node('"{pump} is at {bearing_c}"', '"{device} is at {bearing_c}"')
    plant.change_node('{pump: "{pump}", percent: 30}', '{pump: "{device}", percent: 30}')

    problem = only_problem(plant)

    assert problem.key == "listen[0].topic"
    assert "a name in braces for the level of the device" in problem.expected


def test_a_topic_without_wildcards_is_about_a_single_device(plant: Any) -> None:
    plant.change_node("plant/{pump}/telemetry", "plant/telemetry")
    plant.change_node('"{pump} is at {bearing_c}"', '"{device} is at {bearing_c}"')
    plant.change_node('{pump: "{pump}", percent: 30}', '{pump: "{device}", percent: 30}')

    assert load_node(plant.node).name == "pumps"


def test_a_field_that_two_topics_give_is_refused(plant: Any) -> None:
    plant.change_node("stale: 30s", "  - topic: plant/{pump}/more\n    fields: {speed: rpm}\nstale: 30s")

    problem = only_problem(plant)

    assert problem.key == "listen[1].fields.speed"
    assert problem.came == "'speed', also in listen[0]"


def test_a_command_that_looks_at_a_device_must_say_at_which(plant: Any) -> None:
    plant.node.write_text(
        plant.node.read_text()
        + "  all_off:\n    description: Switch all off.\n    publish: {topic: plant/all, payload: 'off'}\n"
        "    require: [speed < 10]\n",
        encoding="utf-8",
    )

    assert only_problem(plant).key == "commands.all_off.args"


def test_a_command_without_a_device_and_without_conditions_is_good(plant: Any) -> None:
    plant.node.write_text(
        plant.node.read_text()
        + "  all_off:\n    description: Switch all off.\n    publish: {topic: plant/all, payload: 'off'}\n",
        encoding="utf-8",
    )

    assert set(load_node(plant.node).spec.commands) == {"set_speed", "all_off"}


def test_free_text_may_not_stand_in_a_topic(plant: Any) -> None:
    plant.change_node(
        "mode: {type: string, enum: [soft, hard], default: soft}", "mode: {type: string, default: soft}"
    )
    plant.change_node("plant/{pump}/set", "plant/{pump}/{mode}")

    problem = only_problem(plant)

    assert problem.key == "commands.set_speed.publish.topic"
    assert problem.came == "{mode}, the type string"


def test_a_manual_that_is_a_link_out_of_the_folder_is_refused(plant: Any) -> None:
    secret = plant.folder / "secret.md"
    secret.write_text("secret", encoding="utf-8")
    (plant.node.parent / "manual" / "link.md").symlink_to(secret)

    problem = only_problem(plant)

    assert (problem.key, problem.came) == ("knowledge[0]", "'link.md', a link that leads out of it")


@pytest.mark.parametrize("pattern", ["a" * 3000, "'**a'"])
def test_a_pattern_that_no_file_system_takes_is_refused(plant: Any, pattern: str) -> None:
    plant.change_node("manual/*.md", pattern)

    problem = only_problem(plant)

    assert problem.key == "knowledge[0]"
    assert problem.expected.startswith("a pattern")


def test_problems_come_in_the_order_of_the_file(plant: Any) -> None:
    plant.change_node("when: bearing_c > 85", "when: hot > 85")
    plant.change_node("- manual/*.md", "- manual/*.pdf")
    plant.change_node("field: speed, equals", "field: rpm, equals")

    with pytest.raises(ConfigurationInvalid) as caught:
        load_node(plant.node)

    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["knowledge[0]", "triggers.hot.when", "commands.set_speed.expect.field"]


def test_an_adapter_that_is_not_there_is_refused(plant: Any) -> None:
    plant.change_node("stale: 30s", "stale: 30s\nmodel: {adapter: own.onnx_adapter}")

    problem = only_problem(plant)

    assert (problem.key, problem.came) == ("model.adapter", "'own.onnx_adapter', which is none")

    (plant.node.parent / "own.onnx_adapter").touch()
    assert load_node(plant.node).spec.model.adapter == "own.onnx_adapter"

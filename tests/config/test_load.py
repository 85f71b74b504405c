from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_node.config.load import load, load_node, load_runtime
from edge_node.errors import ConfigurationInvalid, Problem

if TYPE_CHECKING:
    from pathlib import Path


def problems(path: Path) -> list[Problem]:
    with pytest.raises(ConfigurationInvalid) as caught:
        load(path)
    return list(caught.value.problems)


def test_a_good_folder_becomes_a_configuration(plant: Any) -> None:
    configuration = load(plant.folder)

    assert configuration.file == plant.runtime
    assert configuration.runtime.edge == "hall-3"
    assert configuration.runtime.broker.keepalive == 30.0
    [node] = configuration.nodes
    assert node.folder == plant.node.parent
    assert node.spec.triggers["hot"].for_ == 5.0
    assert node.spec.commands["set_speed"].args["percent"].maximum == 100


def test_the_runtime_file_itself_may_be_named(plant: Any) -> None:
    assert load(plant.runtime) == load(plant.folder)


def test_a_broken_node_keeps_nobody_from_speaking_to_the_edge(plant: Any) -> None:
    runtime = load(plant.folder).runtime
    plant.node.write_text("edge_node: 2\n")

    assert problems(plant.folder)
    assert load_runtime(plant.folder).runtime == load_runtime(plant.runtime).runtime == runtime


def test_a_node_loads_from_its_folder_and_from_its_file(plant: Any) -> None:
    assert load_node(plant.node.parent) == load_node(plant.node)
    assert load_node(plant.node).name == "pumps"


@pytest.mark.parametrize(
    ("old", "new", "key", "expected", "came", "hint"),
    [
        ("port: 1883", "port: 70000", "broker.port", "an integer from 1 to 65535", "70000 (integer)", ""),
        ("port: 1883", "port: '1883'", "broker.port", "an integer from 1 to 65535", "'1883' (string)", ""),
        ("port: 1883", "port: true", "broker.port", "an integer from 1 to 65535", "true (boolean)", ""),
        ("port: 1883", "port:", "broker.port", "an integer from 1 to 65535", "nothing", ""),
        (
            "port: 1883",
            "protocol: 5",
            "broker.protocol",
            "one of '5', '3.1.1'",
            "5 (integer)",
            "put the value in quotes",
        ),
        (
            "port: 1883",
            "keepalive: 30",
            "broker.keepalive",
            "a duration with its unit, such as 500ms, 30s, 2m, 1h or 30d",
            "30 (integer)",
            "",
        ),
        ("port: 1883", "keepalive: 2d", "broker.keepalive", "at most 65535s", "'2d' (string)", ""),
        (
            "port: 1883",
            "session: 0s",
            "broker.session",
            "a duration with its unit, such as 500ms, 30s, 2m, 1h or 30d",
            "'0s' (string)",
            "",
        ),
        (
            "port: 1883",
            "username: 17",
            "broker.username",
            "a string",
            "17 (integer)",
            "put the value in quotes",
        ),
        (
            "host: localhost",
            "hots: localhost",
            "broker.hots",
            "one of host, keepalive, password_file, plaintext, port, protocol, session, tls, username",
            "the unknown key 'hots'",
            "did you mean 'host'?",
        ),
        (
            "host: localhost",
            "password: secret",
            "broker.password",
            "one of host, keepalive, password_file, plaintext, port, protocol, session, tls, username",
            "the unknown key 'password'",
            "did you mean 'password_file'?",
        ),
        (
            "edge: hall-3",
            "edge: hall/3",
            "edge",
            "a name of 1 to 64 letters, digits, '.', '_' and '-' that begins with a letter or digit",
            "'hall/3' (string)",
            "",
        ),
        ("edge_node: 1", "edge_node: 2", "edge_node", "1", "2 (integer)", ""),
        ("  - nodes/*", "  - 7", "nodes[0]", "a string", "7 (integer)", "put the value in quotes"),
        (
            "  - nodes/*",
            "  - plants/*",
            "nodes[0]",
            "folders with a node.yaml",
            "no such folder at 'plants/*'",
            "",
        ),
    ],
)
def test_a_wrong_value_of_the_runtime_file_is_told_in_plain_words(
    plant: Any, old: str, new: str, key: str, expected: str, came: str, hint: str
) -> None:
    line = plant.change_runtime(old, new)

    assert problems(plant.folder) == [Problem(str(plant.runtime), line, key, expected, came, hint)]


@pytest.mark.parametrize(
    ("old", "new", "key", "expected", "came", "hint"),
    [
        (
            "stale: 30s",
            "stale: soon",
            "stale",
            "a duration with its unit, such as 500ms, 30s, 2m, 1h or 30d",
            "'soon' (string)",
            "",
        ),
        (
            "  hot:",
            "  Hot:",
            "triggers.Hot",
            "as key a name of small letters, digits and '_' that begins with a letter",
            "'Hot' (string)",
            "",
        ),
        (
            "type: integer",
            "type: int",
            "commands.set_speed.args.percent.type",
            "one of 'integer', 'number', 'string', 'boolean'",
            "'int' (string)",
            "",
        ),
        (
            "enum: [soft, hard]",
            "enum: []",
            "commands.set_speed.args.mode.enum",
            "a list that is not empty",
            "a list",
            "",
        ),
        (
            "default: soft",
            "default: [soft]",
            "commands.set_speed.args.mode.default",
            "true or false or an integer or a number or a string",
            "a list",
            "",
        ),
        (
            "limit: {every: 2s, step: 20}",
            "limit: {step: 0}",
            "commands.set_speed.limit.step",
            "a number greater than 0",
            "0 (integer)",
            "",
        ),
        (
            "      - device.online",
            "      - true",
            "commands.set_speed.require[0]",
            "a string",
            "true (boolean)",
            "put the value in quotes",
        ),
        (
            "    when: bearing_c > 85",
            "    wenn: bearing_c > 85",
            "triggers.hot.wenn",
            (
                "one of absent, alert, all, any, at, choose, cooldown, debounce, do, every, explain, for, "
                "say, until, when, within"
            ),
            "the unknown key 'wenn'",
            "did you mean 'when'?",
        ),
    ],
)
def test_a_wrong_value_of_a_node_file_is_told_in_plain_words(
    plant: Any, old: str, new: str, key: str, expected: str, came: str, hint: str
) -> None:
    line = plant.change_node(old, new)

    assert problems(plant.folder) == [Problem(str(plant.node), line, key, expected, came, hint)]


def test_a_missing_key_is_told_at_the_mapping_that_lacks_it(plant: Any) -> None:
    plant.change_node("    description: Change the speed of a pump.\n", "")

    [problem] = problems(plant.folder)

    assert problem.line == plant.node.read_text().split("\n").index("  set_speed:") + 1
    assert problem.key == "commands.set_speed.description"
    assert (problem.expected, problem.came) == ("a string", "nothing")


def test_a_misspelt_key_that_is_required_is_told_as_unknown_and_as_missing(plant: Any) -> None:
    plant.change_runtime("edge: hall-3", "egde: hall-3")

    came = [(problem.line, problem.key, problem.came) for problem in problems(plant.folder)]

    assert came == [(1, "edge", "nothing"), (2, "egde", "the unknown key 'egde'")]


def test_whole_numbers_are_numbers(plant: Any) -> None:
    plant.change_node("type: integer, minimum: 0, maximum: 100", "type: number, minimum: 0, maximum: 99.5")

    percent = load(plant.folder).nodes[0].spec.commands["set_speed"].args["percent"]

    assert (percent.minimum, percent.maximum) == (0, 99.5)


def test_all_problems_of_all_files_are_told_at_once(plant: Any) -> None:
    plant.change_runtime("port: 1883", "port: 0")
    plant.change_node("bearing_c > 85\n", "bering_c > 85\n")
    other = plant.node.parent.parent / "tabs" / "node.yaml"
    other.parent.mkdir()
    other.write_text("edge_node: 1\n\tname: tabs\n", encoding="utf-8")

    told = {(problem.file, problem.line, problem.key) for problem in problems(plant.folder)}

    assert told == {
        (str(plant.runtime), 5, "broker.port"),
        (str(plant.node), 13, "triggers.hot.when"),
        (str(other), 2, ""),
    }


def test_a_list_at_the_top_and_a_missing_file_are_told(plant: Any) -> None:
    plant.node.write_text("- a\n", encoding="utf-8")
    assert (
        str(problems(plant.folder)[0]) == f"{plant.node}:1: expected keys and values at the top, came a list"
    )

    plant.runtime.unlink()
    [problem] = problems(plant.folder)
    assert (
        str(problem) == f"{plant.runtime}: expected a file that can be read, came no such file or directory"
    )


def test_two_nodes_of_one_name_are_told_with_both_places(plant: Any) -> None:
    other = plant.folder / "nodes" / "zz" / "node.yaml"
    shutil.copytree(plant.node.parent, other.parent)
    other.write_text("edge_node: 1\n\nname: pumps\n", encoding="utf-8")

    [problem] = problems(plant.folder)

    assert (problem.file, problem.line, problem.key) == (str(other), 3, "name")
    assert problem.expected == "a name that no other node has"
    assert problem.came == f"'pumps', also the name in {plant.node}:2"


@pytest.mark.parametrize(
    "topic", ["plant/{pump}/set", "plant/{other}/set", "{hall}/{pump}/set", "plant/pump-1/set"]
)
def test_two_nodes_that_command_one_device_are_refused(plant: Any, topic: str) -> None:
    other = plant.folder / "nodes" / "zz" / "node.yaml"
    shutil.copytree(plant.node.parent, other.parent)
    second = (
        "edge_node: 1\nname: other\ncommands:\n  go:\n    description: Go.\n    args:\n"
        + "".join(f"      {name}: {{device: true}}\n" for name in ("pump", "other", "hall"))
        + f'    publish:\n      topic: "{topic}"\n      payload: 1\n'
    )
    other.write_text(second, encoding="utf-8")
    [problem] = problems(plant.folder)

    # Told at the node whose name comes later.
    assert problem.key == "commands.set_speed.publish.topic"
    assert problem.expected == "devices that no other node commands"
    assert f"which other commands too in {other}:11" in problem.came


@pytest.mark.parametrize("topic", ["plant/{pump}/stop", "hall/{pump}/set", "plant/{pump}/set/now"])
def test_two_nodes_may_publish_on_topics_that_cannot_meet(plant: Any, topic: str) -> None:
    other = plant.folder / "nodes" / "zz" / "node.yaml"
    shutil.copytree(plant.node.parent, other.parent)
    text = plant.node.read_text().replace("name: pumps", "name: zz").replace("plant/{pump}/set", topic)
    other.write_text(text, encoding="utf-8")

    assert [node.name for node in load(plant.folder).nodes] == ["pumps", "zz"]


def test_nodes_may_lie_at_an_absolute_path(plant: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "pumps"
    shutil.move(plant.node.parent, elsewhere)
    plant.change_runtime("nodes/*", str(elsewhere))

    assert load(plant.folder).nodes[0].folder == elsewhere


def test_nothing_in_a_value_is_expanded(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "told")
    plant.change_runtime("host: localhost", "host: ${SECRET}")

    assert load(plant.folder).runtime.broker.host == "${SECRET}"


def key_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in [(*path, key), *key_paths(item, (*path, key))]]


def damage(data: Any, path: tuple[Any, ...], how: str) -> None:
    *above, last = path
    for key in above:
        if not isinstance(data, dict | list) or (isinstance(data, dict) and key not in data):
            return
        if isinstance(data, list) and not (isinstance(key, int) and key < len(data)):
            return
        data = data[key]
    if isinstance(data, dict) and last in data:
        value = data.pop(last)
        if how != "delete":
            data.update(
                {f"{last}x": value} if how == "rename" else {last: {"list": [], "null": None}.get(how, 7.5)}
            )
    elif isinstance(data, list) and isinstance(last, int) and last < len(data):
        data[last] = None


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.data())
def test_no_damage_to_a_good_configuration_makes_loading_crash(plant: Any, chosen: st.DataObject) -> None:
    for file, text in plant.texts.items():
        data = yaml.safe_load(text)
        hows = st.sampled_from(["delete", "rename", "list", "null", "number"])
        damages = st.lists(st.tuples(st.sampled_from(key_paths(data)), hows), max_size=4)
        for path, how in chosen.draw(damages):
            damage(data, path, how)
        file.write_text(yaml.safe_dump(data), encoding="utf-8")

    try:
        configuration = load(plant.folder)
    except ConfigurationInvalid as error:
        lines = {str(file): file.read_text().count("\n") for file in plant.texts}
        wrong = [problem for problem in error.problems if not 1 <= problem.line <= lines[problem.file]]
        assert not wrong
    else:
        assert configuration.file == plant.runtime


def test_an_anchor_used_twice_is_told_where_it_is_written(plant: Any) -> None:
    line = plant.change_node("percent: {type: integer,", "percent: {type: whole,")
    plant.node.write_text(
        plant.node.read_text().replace("    args:\n", "    args: &args\n")
        + "  other:\n    description: Other.\n    args: *args\n"
        "    publish: {topic: 'plant/{pump}/other', payload: 1}\n",
        encoding="utf-8",
    )

    assert {problem.line for problem in problems(plant.folder)} == {line}


def test_a_role_that_the_runtime_file_does_not_name_is_told_at_its_line(plant: Any) -> None:
    plant.change_runtime("broker:\n", "operators: {roles: {maintenance: [anna]}}\nbroker:\n")
    line = plant.change_node(
        "    approve: origin == 'model'\n",
        "    allow: [maintenace]\n    approve: {when: origin == 'model', by: [maintenance, lead]}\n",
    )

    with pytest.raises(ConfigurationInvalid) as caught:
        load(plant.runtime)

    first, second = caught.value.problems
    assert (first.line, first.key, first.came) == (line, "commands.set_speed.allow[0]", "'maintenace'")
    assert first.hint == "did you mean 'maintenance'?"
    assert (second.line, second.key) == (line + 1, "commands.set_speed.approve.by[1]")


def test_a_condition_of_an_approval_is_checked_in_its_longer_spelling_too(plant: Any) -> None:
    plant.change_node("approve: origin == 'model'", "approve: {when: orgin == 'model'}")

    with pytest.raises(ConfigurationInvalid) as caught:
        load(plant.runtime)

    assert [problem.key for problem in caught.value.problems] == ["commands.set_speed.approve.when"]


@pytest.mark.parametrize(
    ("larger", "key", "expected"),
    [
        ({"url": "192.168.1.5:11434", "model": "m"}, "larger_model.url", "http:// or https://"),
        ({"url": "ftp://localhost/v1", "model": "m"}, "larger_model.url", "http:// or https://"),
        ({"url": "https://me:pw@box/v1", "model": "m"}, "larger_model.url", "without user"),
        ({"url": "http://box:99999/v1", "model": "m"}, "larger_model.url", "http:// or https://"),
        (
            {"url": "http://192.168.1.5:11434/v1", "model": "m"},
            "larger_model.url",
            "https:// beyond this machine",
        ),
        ({"url": "http://127.0.0.1:11434/v1"}, "larger_model.model", "model"),
    ],
)
def test_a_larger_model_needs_an_address_that_can_be_trusted(
    plant: Any, larger: dict[str, Any], key: str, expected: str
) -> None:
    runtime = yaml.safe_load(plant.runtime.read_text())
    plant.runtime.write_text(yaml.safe_dump({**runtime, "larger_model": larger}))

    [problem] = problems(plant.folder)
    assert problem.key == key
    assert expected in str(problem)


@pytest.mark.parametrize(
    "larger",
    [
        {"url": "http://127.0.0.1:11434/v1", "model": "m"},
        {"url": "https://box.lan/v1", "model": "m"},
        {"url": "http://192.168.1.5:11434/v1", "model": "m", "plaintext": True},
    ],
)
def test_a_larger_model_is_off_unless_it_is_named(plant: Any, larger: dict[str, Any]) -> None:
    assert load(plant.folder).runtime.larger_model is None
    runtime = yaml.safe_load(plant.runtime.read_text())
    plant.runtime.write_text(yaml.safe_dump({**runtime, "larger_model": larger}))
    named = load(plant.folder).runtime.larger_model
    assert named is not None
    assert named.url == larger["url"]

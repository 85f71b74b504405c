from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_node.config.loaded import Configuration, Node
from edge_node.config.models import NodeConfig, RuntimeConfig
from edge_node.runtime.changes import compare
from tests.runtime.hall import SPEC


def configuration(*nodes: dict[str, Any], **runtime: Any) -> Configuration:
    made = tuple(Node(NodeConfig.model_validate(spec), Path(spec["name"])) for spec in nodes)
    file = RuntimeConfig.model_validate({"edge_node": 1, "edge": "hall", **runtime})
    return Configuration(file, made, Path("edge-node.yaml"))


def test_the_same_files_are_no_change() -> None:
    reachable, changes = compare(configuration(SPEC), configuration(SPEC))

    assert reachable == configuration(SPEC)
    assert not changes.any_taken_up
    assert changes.text == "nothing to take up"


def test_nodes_are_told_by_what_became_of_them() -> None:
    changed = copy.deepcopy(SPEC)
    changed["triggers"]["shaking"]["when"] = "vib > 8"
    changed["stale"] = "5s"
    gone, come = {**SPEC, "name": "gone", "triggers": {}}, {**SPEC, "name": "come", "triggers": {}}

    _, changes = compare(configuration(SPEC, gone), configuration(changed, come))

    assert (changes.added, changes.removed) == (("come",), ("gone",))
    assert changes.text == (
        "taken up: node come added, node gone removed, node pump-guard changed (stale, triggers.shaking)"
    )


def test_what_cannot_be_taken_up_stays_as_it_is_beside_what_can() -> None:
    now = configuration(SPEC, broker={"port": 1883}, limits={"payload": "1KiB"})
    wanted = configuration(
        SPEC,
        edge="other",
        broker={"port": 1884, "username": "e"},
        state="/elsewhere",
        limits={"payload": "2KiB", "devices": 5},
        operators={"approve": ["ada"]},
    )

    reachable, changes = compare(now, wanted)

    assert changes.restart == ("edge", "broker.port", "broker.username", "state", "limits.payload")
    assert changes.settings == ("limits.devices", "operators.approve")
    assert reachable.runtime.broker == now.runtime.broker
    assert reachable.runtime.limits.payload == 1024
    assert reachable.runtime.limits.devices == 5
    assert reachable.runtime.operators.approve == ["ada"]
    # Once taken up, the same files need nothing but the restart any more.
    _, again = compare(reachable, wanted)
    assert (again.any_taken_up, again.restart) == (False, changes.restart)


def test_a_section_that_nobody_has_thought_of_needs_a_restart() -> None:
    now = configuration(SPEC)
    live = {"edge_node", "nodes", "operators", "stop", "knowledge"}
    for key in set(RuntimeConfig.model_fields) - live:
        wanted = now.runtime.model_copy(update={key: object()})
        if key != "limits":
            assert compare(now, replace(now, runtime=wanted))[1].restart == (key,)


def test_a_node_that_moved_has_changed() -> None:
    now = configuration(SPEC)
    moved = replace(now, nodes=(replace(now.nodes[0], folder=Path("elsewhere")),))
    assert compare(now, moved)[1].changed == {"pump-guard": ("folder",)}

"""Three nodes with every kind of rule, and the people around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from edge_node.config.load import load
from edge_node.signing import write_pair

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.config.loaded import Configuration

EDGE = "yard"
USERS = ("ada", "ben", "carl", "dora", "eva", "mallory")
PRESS = """
edge_node: 1
name: press-cell
description: Presses of the yard.
knowledge: ["manual/*.md"]
listen:
  - topic: cell/{press}/state
    qos: 1
    fields: {pressed: force_kn, temp: temp_c, guard: guard, note: note}
  - topic: cell/{press}/log
    qos: 1
    fields: {line: $}
stale: 20s
ask: true
triggers:
  hot: {when: temp > 90, do: {set_force: {press: "{press}", force: 5}}}
  noted: {when: changed(note), choose: [set_force], say: "{press} notes {note}"}
  logged: {when: changed(line), choose: [halt, set_force], say: "{line}"}
  cold: {when: temp < 0, explain: true}
commands:
  set_force:
    description: Set the force of a press.
    examples: ["(set|bring) {press} to {force}"]
    args:
      press: {device: true}
      force: {type: integer, minimum: 0, maximum: 80}
    publish:
      topic: cell/{press}/do
      payload: {do: set_force, press: "{press}", force: "{force}", id: "{command_id}"}
    require: ["guard == 'closed'", "force <= 40 || temp < 60"]
    limit: {every: 5s, step: 30}
    expect: {field: pressed, equals: force}
  set_mode:
    description: Set how fast a press works.
    examples: ["(let|have) {press} work {mode}"]
    args:
      press: {device: true}
      mode: {type: string, enum: [slow, normal]}
    publish:
      topic: cell/{press}/do
      payload: {do: set_mode, press: "{press}", mode: "{mode}", id: "{command_id}"}
    limit: {per_hour: 1}
    allow: [setters]
  release:
    description: Let a press open.
    examples: ["open {press} by {degrees}"]
    args:
      press: {device: true}
      degrees: {type: number, minimum: 0.5, maximum: 10}
    publish:
      topic: cell/{press}/do
      payload: {do: release, press: "{press}", degrees: "{degrees}", id: "{command_id}"}
    require: ["guard == 'open'"]
    allow: [setters]
    approve: {by: [chiefs]}
    expires: 20s
  unlock:
    description: Unlock the guard of a press.
    examples: ["unlock {press}"]
    args:
      press: {device: true}
    publish:
      topic: cell/{press}/do
      payload: {do: unlock, press: "{press}", id: "{command_id}"}
    require: [temp < 50]
    approve: {by: [chiefs], signed: true}
    expires: 20s
  vent:
    description: Vent a press.
    examples: ["vent {press} {gently} {why}"]
    args:
      press: {device: true}
      gently: {type: boolean, default: true}
      why: {type: string, default: ""}
    publish:
      topic: cell/{press}/vent
      payload: {do: vent, press: "{press}", gently: "{gently}", why: "{why}", id: "{command_id}"}
    approve: temp > 40
  halt:
    description: Halt a press.
    examples: ["halt {press}"]
    args:
      press: {device: true}
    publish:
      topic: cell/{press}/do
      payload: {do: halt, press: "{press}", id: "{command_id}"}
      idempotent: true
  purge:
    description: Purge a press; nobody may order it.
    examples: ["purge {press}"]
    args:
      press: {device: true}
    publish:
      topic: cell/{press}/do
      payload: {do: purge, press: "{press}", id: "{command_id}"}
    allow: []
"""
OVEN = """
edge_node: 1
name: oven-cell
description: Ovens of the yard.
listen:
  - topic: oven/{oven}/state
    qos: 1
    fields: {degrees: degrees, door: door}
stale: 20s
ask: true
commands:
  set_oven:
    description: Set the heat of an oven.
    examples: ["heat {oven} to {degrees_wanted}"]
    args:
      oven: {device: true}
      degrees_wanted: {type: number, minimum: 0, maximum: 200}
    publish:
      topic: oven/{oven}/do
      payload: {do: set_oven, oven: "{oven}", degrees_wanted: "{degrees_wanted}", id: "{command_id}"}
    require: ["door == 'shut'"]
    limit: {every: 2s}
"""
CRANE = """
edge_node: 1
name: crane
description: Takes no orders.
listen:
  - topic: crane/{crane}/state
    qos: 1
    fields: {load: load}
stale: 20s
triggers:
  heavy: {when: load > 5, say: "{crane} is loaded"}
commands:
  lift:
    description: Lift the hook.
    examples: ["lift {crane}"]
    args:
      crane: {device: true}
    publish:
      topic: crane/{crane}/do
      payload: {do: lift, crane: "{crane}", id: "{command_id}"}
"""
RUNTIME: dict[str, Any] = {
    "edge_node": 1,
    "edge": EDGE,
    "broker": {"port": 1883},
    "nodes": ["press-cell", "oven-cell", "crane"],
    "stop": {"reset": ["ada"]},
    "operators": {
        "roles": {"chiefs": ["ada", "eva"], "setters": ["ada", "ben", "carl", "dora"]},
        "approve": ["dora"],
        "keys": {user: f"{user}.pub" for user in USERS},
    },
}


def write_site(folder: Path, *, manual: str) -> Configuration:
    """Write the files of the yard, with a manual and a pair of keys for everybody; return what they say."""
    for name, text in {"press-cell": PRESS, "oven-cell": OVEN, "crane": CRANE}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "node.yaml").write_text(text, encoding="utf-8")
    (folder / "press-cell" / "manual").mkdir()
    (folder / "press-cell" / "manual" / "press.md").write_text(manual, encoding="utf-8")
    for user in USERS:
        write_pair(folder / f"{user}.key", public_file=folder / f"{user}.pub")
    (folder / "edge-node.yaml").write_text(yaml.safe_dump(RUNTIME), encoding="utf-8")
    return load(folder)

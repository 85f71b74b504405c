"""A good configuration to break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME = """\
edge_node: 1
edge: hall-3
broker:
  host: localhost
  port: 1883
nodes:
  - nodes/*
"""

NODE = """\
edge_node: 1
name: pumps
knowledge:
  - manual/*.md
listen:
  - topic: plant/{pump}/telemetry
    fields:
      speed: speed
      bearing_c: temp.bearing
stale: 30s
triggers:
  hot:
    when: bearing_c > 85
    for: 5s
    until: bearing_c < 80
    do: {set_speed: {pump: "{pump}", percent: 30}}
    say: "{pump} is at {bearing_c}"
  silent:
    absent: 2m
    choose: [set_speed]
commands:
  set_speed:
    description: Change the speed of a pump.
    examples:
      - "slow {pump} to {percent}"
    args:
      pump: {device: true}
      percent: {type: integer, minimum: 0, maximum: 100}
      mode: {type: string, enum: [soft, hard], default: soft}
    publish:
      topic: plant/{pump}/set
      payload: {speed: "{percent}", mode: "{mode}", id: "{command_id}"}
    require:
      - device.online
      - percent <= 60 || bearing_c < 85
    limit: {every: 2s, step: 20}
    approve: origin == 'model'
    expect: {field: speed, equals: percent, within: 5s}
"""


class Plant:
    """A folder with a runtime file and one node, whose lines can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "edge-node.yaml"
        self.node = folder / "nodes" / "pumps" / "node.yaml"
        manual = self.node.parent / "manual" / "pump.md"
        manual.parent.mkdir(parents=True)
        manual.write_text("# Pump\n", encoding="utf-8")
        self.runtime.write_text(RUNTIME, encoding="utf-8")
        self.node.write_text(NODE, encoding="utf-8")
        self.texts = {self.runtime: RUNTIME, self.node: NODE}

    def change_node(self, old: str, new: str) -> int:
        """Return the line, from 1, where `old` stood before it was replaced."""
        return _change(self.node, old, new)

    def change_runtime(self, old: str, new: str) -> int:
        """Return the line, from 1, where `old` stood before it was replaced."""
        return _change(self.runtime, old, new)


def _change(file: Path, old: str, new: str) -> int:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    file.write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)

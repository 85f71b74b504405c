from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pytest

from edge_node.config.loaded import Node
from edge_node.config.models import NodeConfig
from edge_node.messages import DeviceState, Generation, Message, Observation, Request, RequestKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_node.messages import Grammar, Turn

PUBLISH = {"topic": "plant/{pump}/set", "payload": {}}
SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "pump-guard",
    "description": "Guards the pumps of hall 3.",
    "ask": True,
    "listen": [
        {"topic": "plant/{pump}/telemetry", "fields": {"vibration": "vib", "speed": "rpm", "mode": "mode"}}
    ],
    "triggers": {
        "overheating": {"when": "vibration > 1.0", "do": {"set_speed": {"pump": "{pump}", "percent": 20}}},
        "matching": {
            "when": "vibration > 1.0",
            "do": {"set_speed": {"pump": "{pump}", "percent": "{speed}"}},
        },
        "shaking": {"when": "vibration > 7.1", "choose": ["stop", "set_speed"]},
        "noisy": {"when": "vibration > 3.0", "explain": True},
        "telling": {"when": "vibration > 2.0"},
    },
    "commands": {
        "set_speed": {
            "description": "Change the speed of a pump.",
            "examples": ["(set|slow) {pump} [down] to {percent} [percent]"],
            "args": {
                "pump": {"device": True},
                "percent": {"type": "integer", "minimum": 0.0, "maximum": 100.0, "unit": "percent"},
            },
            "publish": PUBLISH,
        },
        "stop": {
            "description": "Stop a pump.",
            "examples": ["(stop|halt) {pump}"],
            "args": {"pump": {"device": True}},
            "publish": PUBLISH,
        },
        "set_mode": {
            "description": "Choose how a pump runs.",
            "examples": ["(put|set) {pump} (in|into|to) {mode} mode"],
            "args": {"pump": {"device": True}, "mode": {"type": "string", "enum": ["eco", "full_power"]}},
            "publish": PUBLISH,
        },
        "jog": {
            "description": "Move the plunger of a pump.",
            "examples": ["(jog|move) {pump} by {stroke} [at {pace}]", "jog {pump}"],
            "args": {
                "pump": {"device": True},
                "stroke": {"type": "number", "unit": "mm"},
                "pace": {"type": "number", "unit": "m/s", "default": 0.25},
            },
            "publish": PUBLISH,
        },
        "show": {
            "description": "Show a text on the display of a pump.",
            "examples": ["(show|display) {text} on {pump}"],
            "args": {"pump": {"device": True}, "text": {"type": "string"}},
            "publish": PUBLISH,
        },
    },
}


@dataclass
class HeldTwin:
    """A twin that holds what a test puts in."""

    fields: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "pump-1": {"speed": 1400},
            "pump-2": {"vibration": 8.2, "speed": 40.0, "mode": "eco"},
            "pump-3": {},
        }
    )

    def observe(self, message: Message) -> tuple[Observation, ...]:
        del message
        return ()

    def state(self, node: str, device: str) -> DeviceState | None:
        if device not in self.fields:
            return None
        return DeviceState(node, device, self.fields[device], seen_at=1.0, online=True)

    def devices(self, node: str) -> tuple[str, ...]:
        del node
        return tuple(sorted(self.fields))

    def times(self, node: str, device: str) -> dict[str, float]:
        del node
        return dict.fromkeys(self.fields.get(device, {}), 1.0)


class WordEmbedder:
    """Hashed bags of words: sentences with the same words are near."""

    name = "words"

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        vectors = np.zeros((len(texts), 512), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.casefold()):
                vectors[row, crc32(word.encode()) % 512] += 1.0
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(lengths, 1e-9)


@dataclass
class SayingModel:
    """A language model that says what a test lets it say, and keeps what it was asked."""

    text: str = '{"command":"none"}'
    complete: bool = True
    context: int = 2048
    prompts: list[list[Turn]] = field(default_factory=list)
    grammars: list[Grammar] = field(default_factory=list)

    def count(self, turns: Sequence[Turn]) -> int:
        return sum(len(turn.content.split()) for turn in turns)

    def prepare(self, system: Turn) -> None:
        """Nothing has to be read."""

    def generate(
        self,
        turns: Sequence[Turn],
        *,
        grammar: Grammar,
        max_tokens: int,
        check: Callable[[], None] | None = None,
    ) -> Generation:
        del check
        del max_tokens
        self.prompts.append(list(turns))
        self.grammars.append(grammar)
        return Generation(self.text, 10, 5, 3, 1, self.complete, log_probability=-0.1)

    def calls(self, command: str, **arguments: Any) -> None:
        self.text = json.dumps({"command": command, "arguments": arguments})


@pytest.fixture
def make_node() -> Callable[..., Node]:
    def make(**changes: Any) -> Node:
        return Node(NodeConfig.model_validate({**SPEC, **changes}), Path("nodes/pump-guard"))

    return make


@pytest.fixture
def ask() -> Callable[..., Request]:
    def asking(text: str, *, node: str = "") -> Request:
        return Request("r1", RequestKind.ASK, "m1", 1.0, node=node, text=text, user="ada")

    return asking


@pytest.fixture
def alarm() -> Callable[..., Request]:
    def firing(trigger: str, *, device: str = "pump-2") -> Request:
        kind = RequestKind.ALARM
        return Request(
            "r1", kind, "m1", 1.0, node="pump-guard", text="pump-2 shakes", trigger=trigger, device=device
        )

    return firing


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    return make_node()


@pytest.fixture
def twin() -> HeldTwin:
    return HeldTwin()


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def model() -> SayingModel:
    return SayingModel()

"""Payloads and envelopes that nobody should send, from a seed: good ones, spoilt in several ways."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_node.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_ASK = "edge/v1/battery/ask/"
_GOOD = (
    b'{"seq": 7, "kind": "rest", "pad": "xxxx"}',
    b'{"text": "stamp press-1 with 12", "node": "press-guard", "correlation": "a"}',
    b'{"trimmed": 12.5, "deep": {"er": [1, 2, {"est": null}]}}',
    b"stamp press-1 with 12",
)
_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"9" * 400, b"1e-999", b"00", b"0x1", b"1.")
_TEXTS = (
    b"\xff\xfe",
    b"\\ud800",
    b"\\u0000",
    b"\x00",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b'"',
    b"\\",
    b"{press}",
    b"<|im_end|>",
)
_TOPICS = (
    "plant/press-1/telemetry",
    "plant/press-1/report",
    "plant/press-1/fast",
    f"{_ASK}ada",
    f"{_ASK}",
    f"{_ASK}a b",
    f"{_ASK}\u202eada",
    f"{_ASK}{'a' * 300}",
    "plant//telemetry",
    f"plant/{'p' * 200}/telemetry",
    "plant/\u0007/telemetry",
    "elsewhere",
)
_REPLIES = (
    "",
    "edge/v1/battery/reply/ada",
    "edge/v1/battery/reply/ada/x",
    "edge/v1/other/reply/ada",
    "plant/+/set",
)


def message(chance: Random, number: int) -> Message:
    """Return the next message."""
    payload = chance.choice(_GOOD)
    for _ in range(chance.randint(1, 3)):
        payload = chance.choice(_SPOILERS)(payload, chance)
    topic = chance.choice(_TOPICS)
    return Message(
        id=f"m{number}",
        topic=topic,
        payload=payload,
        received_at=1_000_000.0 + number / 1000,
        qos=chance.randint(0, 1),
        retained=chance.random() < 0.1,
        response_topic=chance.choice(_REPLIES) if "/ask/" in topic else "",
        correlation=chance.randbytes(chance.choice((0, 0, 1, 16, 300))),
    )


def _flip(payload: bytes, chance: Random) -> bytes:
    content = bytearray(payload or b"x")
    for _ in range(chance.randint(1, 4)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def _cut(payload: bytes, chance: Random) -> bytes:
    return payload[: chance.randrange(len(payload) + 1)]


def _insert(payload: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(payload) + 1)
    return payload[:at] + chance.choice(_TEXTS + _NUMBERS) + payload[at:]


def _repeat(payload: bytes, chance: Random) -> bytes:
    return (payload * chance.choice((2, 20)))[:20_000]


def _nest(payload: bytes, chance: Random) -> bytes:
    depth = chance.choice((2, 31, 33, 500, 5000))
    left, right = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return left * depth + payload + right * chance.choice((0, depth))


def _number(_: bytes, chance: Random) -> bytes:
    key = chance.choice(("seq", "kind", "trimmed", "text", "correlation", "load"))
    return b'{"%s": %s}' % (key.encode(), chance.choice(_NUMBERS))


def _member(_: bytes, chance: Random) -> bytes:
    values = (None, True, [], {}, "", "x" * 3000, 1e308, -(2**63), "\u202e", ["a"] * 50, {"text": "x"})
    keys = ("seq", "kind", "text", "node", "correlation", "trimmed", "id", "")
    return json.dumps({chance.choice(keys): chance.choice(values) for _ in range(3)}).encode()


def _twice(payload: bytes, _: Random) -> bytes:
    return payload[:-1] + b', "seq": 1, "seq": 2}'


def _noise(_: bytes, chance: Random) -> bytes:
    return chance.randbytes(chance.randint(0, 200))


def _wide(_: bytes, chance: Random) -> bytes:
    return (chance.choice(("é", "\u4e2d", "\U0001f600", "\u0301")) * chance.randint(1, 900)).encode()


_SPOILERS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip,
    _cut,
    _insert,
    _repeat,
    _nest,
    _number,
    _member,
    _twice,
    _noise,
    _wide,
)

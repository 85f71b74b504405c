"""Payloads that came from outside, read under limits.

Pure functions over bytes; knows nothing of topics or of what the values mean.
"""

from __future__ import annotations

import json
import math
import re
from json.scanner import make_scanner
from typing import TYPE_CHECKING, Any

from edge_node.errors import EnvelopeInvalid, PayloadInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CORRELATION = 256
"""Characters of a correlation, and bytes of MQTT 5 Correlation-Data."""
_INTEGER_LIMIT = 2**63
_SHOWN = 40

# A string that is cut off reaches to the end: without that, each of its quotes would be tried anew.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
# Only these can be too large for 64 bits or for a double; most payloads hold none. Sought where every digit
# is a nought, which takes a tenth of the time that a regular expression takes.
_NOUGHTS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG, _GREAT, _GREAT_SIGNED = b"0" * 19, b"e000", b"e+000"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def read_json(payload: bytes, *, max_bytes: int, max_depth: int) -> Any:
    """Return the JSON value that `payload` holds.

    Stricter than most readers, so that what is read here can be compared, stored and sent on: a name
    stands once in an object, numbers fit 64 bits or a double, and strings are valid Unicode.

    Raises:
        PayloadInvalid: It is empty, too large, too deep, or no such JSON in UTF-8.

    Source: RFC 8259, with the restrictions of RFC 7493 (I-JSON) on names, numbers and strings.
    """
    text = _decode(payload, max_bytes=max_bytes, expected="JSON")
    _check_depth(text, max_depth=max_depth)
    noughts = payload.translate(_NOUGHTS)
    large = _LONG in noughts or _GREAT in noughts or _GREAT_SIGNED in noughts
    decoder = _CAREFUL if large else _PLAIN
    try:
        value = decoder(text)
    except json.JSONDecodeError as problem:
        raise PayloadInvalid(
            expected="JSON", came=f"{problem.msg} (line {problem.lineno}, column {problem.colno})"
        ) from problem
    except RecursionError as problem:
        raise PayloadInvalid(expected="less nesting", came="more than fits the stack") from problem
    if "\\u" in text and _SURROGATE_ESCAPE.search(text):
        _check_unicode(value)
    return value


def read_text(payload: bytes, *, max_bytes: int, max_characters: int) -> str:
    """Return the words that `payload` holds, without white space around them.

    Raises:
        PayloadInvalid: It is empty, too large, not UTF-8, or holds control characters.
    """
    text = _decode(payload, max_bytes=max_bytes, expected="text").strip()
    if not text:
        raise PayloadInvalid(expected="text", came="white space only")
    if len(text) > max_characters:
        raise PayloadInvalid(
            expected=f"at most {max_characters} characters",
            came=f"{len(text)}",
            hint="raise limits.text in the runtime file, or say it shorter",
        )
    control = _CONTROL.search(text)
    if control:
        raise PayloadInvalid(expected="text without control characters", came=f"U+{ord(control[0]):04X}")
    return text


def _decode(payload: bytes, *, max_bytes: int, expected: str) -> str:
    if not payload:
        raise PayloadInvalid(expected=expected, came="nothing")
    if len(payload) > max_bytes:
        raise PayloadInvalid(
            expected=f"at most {max_bytes} bytes",
            came=f"{len(payload)} bytes",
            hint="raise limits.payload in the runtime file, or send less",
        )
    try:
        return payload.decode()
    except UnicodeDecodeError as problem:
        raise PayloadInvalid(
            expected="UTF-8", came=f"byte 0x{payload[problem.start]:02x} at position {problem.start}"
        ) from problem


def read_correlation(data: bytes, *, own: str) -> str:
    """Return the correlation of a request: MQTT 5 Correlation-Data where there is some, else its `own`.

    Bytes that are no UTF-8 become surrogates, so that they go back as they came.

    Raises:
        EnvelopeInvalid: It is too long, or holds control characters.
    """
    if max(len(data), len(own)) > MAX_CORRELATION:
        raise EnvelopeInvalid(
            "correlation", expected=f"at most {MAX_CORRELATION}", came=str(max(len(data), len(own)))
        )
    if not data:
        if not own.isprintable():
            raise EnvelopeInvalid("correlation", expected="printable text", came="control characters")
        return own
    return data.decode("utf-8", "surrogateescape")


def readable(correlation: bytes) -> str:
    """Return a correlation as text: as it is where it is plain text, else in hexadecimal."""
    text = correlation.decode("utf-8", "replace")
    return text if text.isprintable() and text.encode() == correlation else correlation.hex()


def plain(text: str) -> str:
    """Return a text that can be written anywhere, with '?' for half characters."""
    return text.encode("utf-8", "replace").decode()


def _check_depth(text: str, *, max_depth: int) -> None:
    # No more brackets than levels allowed: nothing to count, and so it is with most payloads.
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > max_depth:
            raise PayloadInvalid(
                expected=f"at most {max_depth} levels of nesting",
                came="more",
                hint="raise limits.depth in the runtime file, or nest less",
            )


def _check_unicode(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as problem:
        raise PayloadInvalid(expected="Unicode", came="half of a surrogate pair") from problem


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise PayloadInvalid(
            expected="each name once in an object",
            came=f"{twice[:_SHOWN]!r} twice",
            hint="two readers may take different ones, so neither is taken",
        )
    return members


def _constant(name: str) -> Any:
    raise PayloadInvalid(
        expected="JSON", came=name, hint="JSON has no such number; send null or leave it out"
    )


def _integer(digits: str) -> int:
    # The length comes first: turning very many digits into a number takes quadratic time.
    value = int(digits) if len(digits) <= len(str(-_INTEGER_LIMIT)) else _INTEGER_LIMIT
    if not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise PayloadInvalid(expected="integers of 64 bits", came=f"{digits[:_SHOWN]} ({len(digits)} digits)")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise PayloadInvalid(expected="numbers that fit a double", came=digits[:_SHOWN])
    return value


def _decoder(
    *, integer: Callable[[str], int] | None = None, number: Callable[[str], float] | None = None
) -> Callable[[str], Any]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_object, parse_constant=_constant, parse_int=integer, parse_float=number
    )
    scan: Callable[[str, int], tuple[Any, int]] = make_scanner(decoder)  # type: ignore[arg-type]

    def decode(text: str) -> Any:
        # Most payloads have no white space around them, for which the decoder would look.
        try:
            value, end = scan(text, 0)
        except StopIteration:
            end = -1
        return value if end == len(text) else decoder.decode(text)

    return decode


_PLAIN = _decoder()
_CAREFUL = _decoder(integer=_integer, number=_float)

from __future__ import annotations

import base64
import contextlib
import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.errors import PayloadInvalid
from edge_node.payloads import read_json, read_text

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024
# Valid JSON that is refused on purpose: a name twice in an object.
STRICTER = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


def read(payload: bytes, *, max_bytes: int = 256 * KIB, max_depth: int = 32) -> Any:
    return read_json(payload, max_bytes=max_bytes, max_depth=max_depth)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_json_writes_is_read_back(value: Any, ascii_only: bool) -> None:  # noqa: FBT001 - hypothesis
    assert read(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    with contextlib.suppress(PayloadInvalid):
        json.dumps(read(payload), allow_nan=False, ensure_ascii=False).encode()


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["[", '{"a":']))
def test_nesting_is_taken_exactly_up_to_the_limit(depth: int, limit: int, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    payload = (opening * (depth - 1) + ("[]" if opening == "[" else "{}") + closing * (depth - 1)).encode()
    if depth <= limit:
        read(payload, max_depth=limit)
    else:
        with pytest.raises(PayloadInvalid, match="levels of nesting"):
            read(payload, max_depth=limit)


def test_brackets_within_strings_are_no_nesting() -> None:
    assert read(b'["[[[[", "\\"[[[[{{{{", {"[[[[": 1}]', max_depth=2) == ["[[[[", '"[[[[{{{{', {"[[[[": 1}]


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "nothing"),
        (b" ", "Expecting value"),
        (b"x" * (256 * KIB + 1), "at most 262144 bytes"),
        (b'"\xff"', "UTF-8, came byte 0xff at position 1"),
        (b"[1,]", "line 1, column"),
        (b"\xef\xbb\xbf1", "Expecting value"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1e999", "fit a double"),
        (b"[1, -1E400]", "fit a double"),
        (b"9223372036854775808", "64 bits"),
        (b"9" * 100_000, "100000 digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\uDFAA": 0}', "surrogate"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(payload: bytes, told: str) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        read(payload)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_surrogate_pair_and_large_but_fitting_numbers_are_read() -> None:
    text = b'["\\ud83d\\ude00", 9223372036854775807, -9223372036854775808, 1e308, 1e-999, "%s"]' % (b"9" * 20)
    assert read(text) == ["😀", 2**63 - 1, -(2**63), 1e308, 0.0, "9" * 20]


@pytest.mark.parametrize(
    "payload",
    [b'"' + b'\\"' * 130_000, b'"' * 260_000, b"[" * 260_000, b'["' + b"\\" * 260_000, b'[{"a":' * 40_000],
)
def test_hostile_payloads_are_refused_in_time_that_grows_with_their_length(payload: bytes) -> None:
    began_s = time.perf_counter()
    with pytest.raises(PayloadInvalid):
        read(b"[" * 40 + payload, max_bytes=1024 * KIB)
    assert time.perf_counter() - began_s < 2.0


def test_the_deepest_limit_of_the_configuration_fits_the_stack() -> None:
    assert read(b"[" * 500 + b"]" * 500, max_depth=500) is not None


def test_text_is_read_without_white_space_around_it() -> None:
    assert read_text(b" slow p1 to 20 %\n", max_bytes=100, max_characters=100) == "slow p1 to 20 %"


@pytest.mark.parametrize("payload", [b"", b" \n", b"\xff", b"a\x00b", b"\x1b[2J", b"x" * 51, b"x" * 101])
def test_text_that_cannot_be_used_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadInvalid):
        read_text(payload, max_bytes=100, max_characters=50)


def test_the_collected_corner_cases_of_json_are_decided_as_the_standard_says(shared_eval: Path) -> None:
    wrong = []
    for line in (shared_eval / "adversarial" / "json_test_suite.jsonl").read_text().splitlines():
        case = json.loads(line)
        name = case["id"].rsplit("/")[-1]
        try:
            value = read(base64.b64decode(case["b64"]), max_depth=500)
        except PayloadInvalid:
            accepted = False
        else:
            accepted = True
            assert not (isinstance(value, float) and math.isinf(value))
        must = {"y": name not in STRICTER, "n": False}.get(name[0], accepted)
        if accepted is not must:
            wrong.append(name)
    assert wrong == []

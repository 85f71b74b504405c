from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.conditions import MAX_CHARACTERS, Condition
from edge_node.errors import ConditionInvalid

THREE_VALUES = st.sampled_from([True, False, None])


def evaluate(source: str, **values: object) -> bool | None:
    return Condition.compile(source).evaluate(values)


def test_a_condition_knows_the_names_it_refers_to() -> None:
    condition = Condition.compile("device.online && (percent <= 60 || bearing_c < 85)")

    assert condition.names == {"device", "percent", "bearing_c"}
    assert condition.source == "device.online && (percent <= 60 || bearing_c < 85)"


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        ("bearing_c > 85", {"bearing_c": 85.5}, True),
        ("bearing_c > 85", {"bearing_c": 85}, False),
        ("mode == 'fast'", {"mode": "fast"}, True),
        ("mode == 'fast'", {"mode": 1}, False),
        ("mode in ['idle', 'halted']", {"mode": "halted"}, True),
        ("device.online", {"device": {"id": "pump-1", "online": False}}, False),
        ("device.id == 'pump-1'", {"device": {"id": "pump-1", "online": False}}, True),
        ("size(name) == 2 && name.startsWith('a')", {"name": "ab"}, True),
        ("code == 9007199254740993", {"code": 9007199254740993}, True),
        ("code == 9007199254740993", {"code": 9007199254740992}, False),
    ],
)
def test_a_condition_over_known_values_is_true_or_false(
    source: str, values: dict[str, object], *, expected: bool
) -> None:
    assert evaluate(source, **values) is expected


@pytest.mark.parametrize("value", [75, 75.0])
def test_a_whole_number_counts_the_same_with_and_without_a_decimal_point(value: float) -> None:
    assert evaluate("t + 5 > 79.5", t=value) is True
    assert evaluate("t / 2 > 37", t=value) is True
    assert evaluate("t - base > 20", t=value, base=50.5) is True


def test_an_index_and_a_remainder_take_whole_numbers_as_they_are() -> None:
    assert evaluate("phases[1] > 3", phases=[1, 4]) is True
    assert evaluate("slot % 2 == 0", slot=4) is True
    assert evaluate("slot % 2 == 0", slot=4.0) is True


@pytest.mark.parametrize(
    "values",
    [{}, {"t": None}, {"t": math.nan}, {"t": math.inf}, {"t": "hot"}, {"t": object()}, {"t": 10**400}],
)
def test_a_value_that_is_missing_or_useless_makes_a_comparison_unknown(values: dict[str, object]) -> None:
    assert Condition.compile("t > 85").evaluate(values) is None
    assert Condition.compile("!(t > 85)").evaluate(values) is None


@pytest.mark.parametrize("source", ["t % 0 == 1", "t", "t + 1", "device.speed > 1", "word == 'x'"])
def test_what_has_no_boolean_result_is_unknown(source: str) -> None:
    assert evaluate(source, t=5, device={"id": "a"}, word="\ud800") is None


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
@pytest.mark.parametrize("power", [5, 5.5])
def test_a_division_by_zero_is_unknown_and_not_infinite(zero: float, power: float) -> None:
    assert evaluate("power / speed > 3", power=power, speed=zero) is None
    assert evaluate("power / speed > 3", power=power, speed=1.5) is (power / 1.5 > 3)
    assert evaluate("speed == 0 || power / speed > 3", power=power, speed=zero) is True
    assert evaluate("speed > 0 && power / speed > 3", power=power, speed=zero) is False


@given(a=THREE_VALUES, b=THREE_VALUES)
def test_and_and_or_follow_the_logic_of_three_values(*, a: bool | None, b: bool | None) -> None:
    values = {"a": a, "b": b}

    either = True if True in (a, b) else None if None in (a, b) else False
    both = False if False in (a, b) else None if None in (a, b) else True

    assert Condition.compile("a || b").evaluate(values) is either
    assert Condition.compile("a && b").evaluate(values) is both


@pytest.mark.parametrize("bad", [None, "hot", math.nan])
def test_a_useless_value_does_not_hide_the_side_that_decides(bad: object) -> None:
    assert evaluate("percent <= 60 || bearing_c < 85", percent=30, bearing_c=bad) is True
    assert evaluate("bearing_c < 85 || percent <= 60", percent=30, bearing_c=bad) is True
    assert evaluate("bearing_c < 85 && percent <= 60", percent=90, bearing_c=bad) is False


LIMITS = st.sampled_from(["0", "7", "7.1", "85", "9007199254740993"])
COMPARISONS = st.tuples(st.sampled_from("abc"), st.sampled_from([">", ">=", "<", "<="]), LIMITS)
TOLD = st.dictionaries(
    st.sampled_from("abc"),
    st.one_of(
        st.sampled_from([0, 7, 7.1, 85, 84.99999999999999, 2**53 + 1, -1e308, 1e308, 10**400]),
        st.integers(-100, 100),
        st.floats(),
        st.booleans(),
        st.none(),
        st.text(max_size=2),
    ),
)


@given(COMPARISONS, st.lists(COMPARISONS, max_size=2), TOLD)
def test_comparisons_with_numbers_come_out_as_the_library_has_them(
    first: tuple[str, str, str], more: list[tuple[str, str, str]], values: dict[str, object]
) -> None:
    source = " && ".join(" ".join(comparison) for comparison in (first, *more))

    # A part that settles nothing, beside which the whole is left to the library.
    assert evaluate(source, **values) is evaluate(f"({source}) || false", **values)


@given(COMPARISONS, st.lists(COMPARISONS, max_size=2), TOLD)
def test_nothing_holds_while_one_of_its_values_lies_within_its_quiet_limits(
    first: tuple[str, str, str], more: list[tuple[str, str, str]], values: dict[str, object]
) -> None:
    condition = Condition.compile(" && ".join(" ".join(comparison) for comparison in (first, *more)))

    # Of a limit that no double tells from its neighbours nothing is said.
    name, below, above = condition.quiet or ("", 0.0, 0.0)
    value = values.get(name)
    if condition.quiet is None:
        assert "9007199254740993" in condition.source
    elif value is None or (type(value) in (int, float) and below < value < above):  # type: ignore[operator]
        assert condition.evaluate(values) is not True


@pytest.mark.parametrize("source", ["a > 7 || b > 7", "a + 1 > 7", "!(a > 7)", "a == 7", "a > b", "a"])
def test_of_other_conditions_no_quiet_limits_are_known(source: str) -> None:
    assert Condition.compile(source).quiet is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(value=JSON, other=JSON)
def test_no_value_of_a_device_makes_a_condition_raise(value: object, other: object) -> None:
    for source in ("a > b", "a == b", "a + b > 1", "a.x.y || b", "a[0] == b", "a in b", "size(a) > b", "!a"):
        assert evaluate(source, a=value, b=other) in (True, False, None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("speed >", "at character 8: the expression ends too early"),
        ("", "at character 1: the expression ends too early"),
        ("a > 1 and b", "at character 7: mismatched input 'and'"),
        ("mean(speed) > 1", "no function mean(); there are avg, changed, contains"),
        ("avg(speed) > 1", "avg() over time is written avg(field, 10s), or avg(field, 10s, tumbling)"),
        ("avg(speed, 10s, rolling) > 1", "not 'rolling'"),
        ("avg(speed + 1) > 1", "avg() over time is written"),
        ("avg(speed, 10) > 1", "expected a time such as 500ms, 10s, 5m or 1h, at most 7d, came 10"),
        ("changed(speed, 10s)", "changed() takes the name of a field"),
        ("[1, 2].exists(x, x > speed)", "exists() loops"),
        ("a / (b - c) > 1", "expected a number other than 0 or the name of a value after '/'"),
        ("a / 0 > 1", "expected a number other than 0 or the name of a value after '/'"),
        ("a / b % 2 == 0", "'/' and % do not go together"),
        ("a" * (MAX_CHARACTERS + 1), "expected at most 2000 characters, came 2001"),
        ("(" * 900 + "a" + ")" * 900, "at character"),
    ],
)
def test_a_condition_that_cannot_be_used_says_why_in_one_line(source: str, reason: str) -> None:
    with pytest.raises(ConditionInvalid) as caught:
        Condition.compile(source)

    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason


def test_words_in_quotes_are_no_calls() -> None:
    assert evaluate("note == 'x.map(y) 7'", note="x.map(y) 7") is True


@given(st.text(alphabet="ab1.0 +-*/%<>=!&|?:()[]{}'\",\\eu", max_size=40))
def test_any_text_compiles_or_is_refused(source: str) -> None:
    try:
        condition = Condition.compile(source)
    except ConditionInvalid:
        return
    assert condition.evaluate({"a": 1, "b": 2.5}) in (True, False, None)

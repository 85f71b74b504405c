from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.understand.naming import mentioned, spoken_names
from edge_node.understand.values import digits, numbers_in, read_number, unit_words


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("forty", "40"),
        ("minus five", "-5"),
        ("negative 5", "-5"),
        ("one point five", "1.5"),
        ("twenty-five percent", "25 percent"),
        ("a hundred and five", "105"),
        ("two thousand three hundred", "2300"),
        ("1,000", "1000"),
        ("0,5", "0.5"),
        ("40%", "40 percent"),
        ("5m/s", "5 m/s"),
        ("pump two forty", "pump 2 40"),
        ("two, three", "2, 3"),
        ("set pump-2", "set pump-2"),
        ("a pump and a valve", "a pump and a valve"),
        ("\N{MINUS SIGN}7", "-7"),
    ],
)
def test_numbers_in_words_become_digits(said: str, written: str) -> None:
    assert digits(said) == written


@given(st.integers(min_value=-999_999, max_value=999_999))
def test_a_number_in_digits_stays_the_number_it_is(number: int) -> None:
    assert numbers_in(f"set it to {number} now") == [number]


@given(st.text(max_size=200))
def test_any_text_can_be_searched_for_numbers_and_names(text: str) -> None:
    numbers_in(text)
    mentioned(text, devices=("pump-2", "pump-3"))


def test_a_number_too_long_for_a_setting_is_none() -> None:
    assert read_number("9" * 5000) is None


def test_a_unit_is_known_by_the_words_people_use() -> None:
    assert "metres per second" in unit_words("m/s")
    assert unit_words("furlongs") == ("furlongs",)


def test_a_device_is_known_by_its_spoken_forms() -> None:
    names = spoken_names(("pump-02", "valve_7"))
    assert {"pump-02", "pump 02", "pump 2", "pump2", "number 2"} <= set(names["pump-02"])
    assert "valve 7" in names["valve_7"]


def test_a_number_that_two_devices_end_in_names_neither() -> None:
    assert "number 2" not in spoken_names(("pump-2", "valve-2"))["pump-2"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("slow pump two down", {"pump-2"}),
        ("slow Pump-2 and number three", {"pump-2", "pump-3"}),
        ("slow pmup 2", set()),
        ("slow pumps 2", {"pump-2"}),
        ("slow pump 22", set()),
        ("slow pump 2.5", set()),
        ("slow the pump", set()),
    ],
)
def test_only_a_device_that_is_said_is_named(text: str, named: set[str]) -> None:
    assert mentioned(text, devices=("pump-2", "pump-3"))[0] == named


def test_the_number_in_a_device_name_is_no_number_that_was_said() -> None:
    _, rest = mentioned("slow pump 2 down to forty", devices=("pump-2",))
    assert numbers_in(rest) == [40]


def test_the_only_device_of_its_kind_needs_no_number() -> None:
    assert mentioned("send the rover to the dock", devices=("pump-1", "pump-2", "rover-1"))[0] == {"rover-1"}
    assert mentioned("stop the pump", devices=("pump-1", "pump-2", "rover-1"))[0] == set()


def test_a_number_that_no_device_has_is_not_taken_for_the_only_one() -> None:
    devices, rest = mentioned("send rover 2 to the dock", devices=("rover-1",))
    assert "2" in rest or not devices

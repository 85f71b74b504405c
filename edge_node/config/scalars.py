"""What both files have in common: durations, sizes, names, and the strictness of their models.

Knows how such a value is written and what it is called; knows no key.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_UNITS_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
DURATION = r"^([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(ms|s|m|h|d)$"
SIZE = r"^([0-9]{1,9})\s*(B|KiB|MiB|GiB)$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_IDENTIFIER = r"^[a-z][a-z0-9_]*$"
_TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
PATTERN_WORDS = {
    DURATION: "a duration with its unit, such as 500ms, 30s, 2m, 1h or 30d",
    SIZE: "a size with its unit, such as 256KiB",
    _NAME: "a name of 1 to 64 letters, digits, '.', '_' and '-' that begins with a letter or digit",
    _TIME_OF_DAY: "a time of day in quotes, such as '07:00'",
    _IDENTIFIER: "a name of small letters, digits and '_' that begins with a letter",
}


def seconds(value: Any) -> float:
    """Return a duration such as `30s` in seconds.

    Raises:
        ValueError: It is not a number with a unit, or it is zero.
    """
    found = re.fullmatch(DURATION, value.strip()) if isinstance(value, str) else None
    if found is None or float(found[1]) == 0.0:
        raise ValueError(PATTERN_WORDS[DURATION])
    return float(found[1]) * _UNITS_S[found[2]]


def size_bytes(value: Any) -> int:
    """Return a size such as `256KiB` in bytes.

    Raises:
        ValueError: It is not a whole number with a unit, or it is zero.
    """
    found = re.fullmatch(SIZE, value.strip()) if isinstance(value, str) else None
    if found is None or int(found[1]) == 0:
        raise ValueError(PATTERN_WORDS[SIZE])
    return int(found[1]) * _UNITS_BYTES[found[2]]


def duration_text(value_s: float) -> str:
    """Return seconds as a duration in the largest unit that keeps them whole, such as `1d`."""
    whole = [unit for unit, unit_s in _UNITS_S.items() if value_s % unit_s == 0]
    unit = whole[-1] if whole else "s"
    return f"{value_s / _UNITS_S[unit]:g}{unit}"


def size_text(value: int) -> str:
    """Return bytes as a size in the largest unit that keeps them whole, such as `256KiB`."""
    unit = [unit for unit, unit_bytes in _UNITS_BYTES.items() if value % unit_bytes == 0][-1]
    return f"{value // _UNITS_BYTES[unit]}{unit}"


Seconds = Annotated[
    float, BeforeValidator(seconds, json_schema_input_type=Annotated[str, Field(pattern=DURATION)])
]
Bytes = Annotated[
    int, BeforeValidator(size_bytes, json_schema_input_type=Annotated[str, Field(pattern=SIZE)])
]
Name = Annotated[str, Field(pattern=_NAME)]
Identifier = Annotated[str, Field(pattern=_IDENTIFIER)]
TimeOfDay = Annotated[str, Field(pattern=_TIME_OF_DAY)]


class Section(BaseModel):
    """A mapping of a file: unknown keys are errors, and 1 is no `true` and no `"1"`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

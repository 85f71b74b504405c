"""Numbers and units as people say them, made into digits.

Pure functions over English words; knows nothing of commands, devices or templates.
"""

from __future__ import annotations

import re

_BELOW_TWENTY = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TIMES_TEN = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS = {word: value for value, word in enumerate(_BELOW_TWENTY)}
_TENS = {word: 10 * value for value, word in enumerate(_TIMES_TEN, start=2)} | {"fourty": 40}
NUMBER_WORDS = frozenset((*_UNITS, *_TENS))
"""Words for the numbers below a hundred."""
_SCALES = {"thousand": 1000, "million": 1_000_000}
_SIGNS = ("minus", "negative")
_HUNDRED = 100

# A number longer than this is no setting of a machine, and Python refuses to read one of 4300 digits.
_MOST_DIGITS = 15
_NUMBER = re.compile(rf"-?\d{{1,{_MOST_DIGITS}}}(?:\.\d{{1,{_MOST_DIGITS}}})?")
_THOUSANDS = re.compile(r"(?<![\d.,])([1-9]\d{0,2}(?:,\d{3})+)(?![\d,])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d+)(?![\d,])")
_GLUED_UNIT = re.compile(r"(?<!\S)(-?\d+(?:\.\d+)?)(?=[a-z°%])", re.IGNORECASE)

_UNIT_WORDS = (
    ("percent", "per cent", "pct", "%"),
    ("m/s", "metres per second", "meters per second", "metre per second", "meter per second"),
    ("mm/s", "millimetres per second", "millimeters per second"),
    ("rpm", "revolutions per minute", "revs per minute", "1/min"),
    ("°c", "celsius", "degrees celsius", "degree celsius", "degrees", "degree", "deg", "c", "degc"),
    ("°f", "fahrenheit", "degrees fahrenheit", "degrees", "degree", "f", "degf"),
    ("deg", "degrees", "degree", "°"),
    ("m", "metres", "meters", "metre", "meter"),
    ("cm", "centimetres", "centimeters", "centimetre", "centimeter"),
    ("mm", "millimetres", "millimeters", "millimetre", "millimeter"),
    ("s", "seconds", "second", "sec", "secs"),
    ("ms", "milliseconds", "millisecond"),
    ("min", "minutes", "minute"),
    ("h", "hours", "hour"),
    ("bar", "bars"),
    ("kw", "kilowatts", "kilowatt"),
    ("w", "watts", "watt"),
    ("v", "volts", "volt"),
    ("a", "amps", "amp", "amperes", "ampere"),
    ("hz", "hertz"),
    ("l/min", "litres per minute", "liters per minute"),
)


def read_number(text: str) -> int | float | None:
    """Return the number that `text` is in digits, an int where it is written without decimals, or None."""
    if not _NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


def numbers_in(text: str) -> list[int | float]:
    """Return the numbers that stand in `text` as words of their own, in order, words and digits alike."""
    found = (read_number(word.strip(".,;:!?()\"'")) for word in digits(text).split())
    return [number for number in found if number is not None]


def unit_words(unit: str) -> tuple[str, ...]:
    """Return how people say a unit, the unit itself among them, in lower case."""
    named = unit.strip().casefold()
    for words in _UNIT_WORDS:
        if named in words:
            return words
    return (named,) if named else ()


def digits(text: str) -> str:
    """Return `text` with numbers in words made into digits: 'minus five' is -5, 'one point five' 1.5.

    What is not a number stays as it is; runs of white space become one space.
    """
    plain = text.replace("\N{MINUS SIGN}", "-").replace("%", " percent")
    plain = _THOUSANDS.sub(lambda found: found[1].replace(",", ""), plain)
    plain = _DECIMAL_COMMA.sub(r"\1.\2", plain)
    plain = _GLUED_UNIT.sub(r"\1 ", plain)
    words = [part for word in plain.split() for part in _split_hyphens(word)]
    written, position = [], 0
    while position < len(words):
        number, length = _number_at(words, position)
        written.append(number if length else words[position])
        position += length or 1
    return " ".join(written)


def _split_hyphens(word: str) -> list[str]:
    parts = word.split("-")
    spoken = len(parts) > 1 and all(_bare(part) in _UNITS or _bare(part) in _TENS for part in parts)
    return parts if spoken else [word]


def _bare(word: str) -> str:
    return word.casefold().rstrip(".,;:!?")


def _number_at(words: list[str], start: int) -> tuple[str, int]:
    """Return the digits of the longest number that begins at `start` and how many words it takes, or 0."""
    position = start
    sign = ""
    if _bare(words[start]) in _SIGNS and start + 1 < len(words):
        sign, position = "-", start + 1
        if words[position][:1].isdigit():
            return sign + words[position], 2
    whole, length = _integer_at(words, position)
    if not length:
        return "", 0
    position += length
    decimals = ""
    if position < len(words) and _bare(words[position]) == "point":
        decimals, used = _decimals_at(words, position + 1)
        position += used + 1 if used else 0
    last = words[position - 1]
    tail = last[len(_bare(last)) :]
    return f"{sign}{whole}{'.' + decimals if decimals else ''}{tail}", position - start


def _decimals_at(words: list[str], start: int) -> tuple[str, int]:
    spoken = ""
    position = start
    while position < len(words):
        word = _bare(words[position])
        digit = _UNITS.get(word)
        if digit is None or digit > 9:  # noqa: PLR2004 - decimals are said digit by digit
            break
        spoken += str(digit)
        position += 1
    return spoken, position - start


def _integer_at(words: list[str], start: int) -> tuple[int, int]:
    """Return the whole number said from `start` on and how many words it takes, or 0 words."""
    total, group, position = 0, 0, start
    room = "any"
    while position < len(words):
        word = _bare(words[position])
        if word in _UNITS and (room == "any" or (room == "unit" and 0 < _UNITS[word] < 10)):  # noqa: PLR2004
            group, room = group + _UNITS[word], "scale"
        elif word in _TENS and room == "any":
            group, room = group + _TENS[word], "unit"
        elif word == "hundred" and 0 < group < _HUNDRED:
            group, room = group * _HUNDRED, "any"
        elif word in _SCALES and group:
            total, group, room = total + group * _SCALES[word], 0, "any"
        elif word == "and" and position > start and _joins(words, position):
            pass
        elif word == "a" and position == start and _next_is_scale(words, position):
            group = 1
        else:
            break
        position += 1
        if words[position - 1] != word and words[position - 1].casefold() != word:
            break  # punctuation ends a number: "two, three" are two of them
    return total + group, position - start


def _joins(words: list[str], position: int) -> bool:
    after = _bare(words[position + 1]) if position + 1 < len(words) else ""
    return _bare(words[position - 1]) in {"hundred", *_SCALES} and (after in _UNITS or after in _TENS)


def _next_is_scale(words: list[str], position: int) -> bool:
    return position + 1 < len(words) and _bare(words[position + 1]) in {"hundred", *_SCALES}


def whole_parts(text: str) -> str:
    """Return `text` (numbers in digits) with halves and quarters of a time in whole smaller units.

    'half an hour' is '30 minutes', '5 and a half minutes' is '5 minutes 30 seconds'.
    """
    text = _HALF_MORE.sub(lambda found: f"{found[1]} {found[2]}s 30 {_SMALLER[found[2].casefold()]}s", text)
    return _HALF.sub(
        lambda found: f"{_SHARES[' '.join(found[1].split()).casefold()]} {_SMALLER[found[2].casefold()]}s",
        text,
    )


_SMALLER = {"hour": "minute", "minute": "second"}
_SHARES = {"half": 30, "1/2": 30, "quarter": 15, "1/4": 15, "3 quarters": 45, "3/4": 45}
_HALF_MORE = re.compile(r"(?<![\w./-])(\d+)(?: and a half|(?: and)? 1/2) (hour|minute)s?\b", re.IGNORECASE)
_HALF = re.compile(
    r"(?<![\w./-])(?:an? )?(half|quarter|3 quarters|1/2|1/4|3/4)(?: of)?(?: an?)? (hour|minute)s?\b",
    re.IGNORECASE,
)

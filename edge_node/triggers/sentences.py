"""The sentence that tells an alarm, filled from what is known of the device.

Pure text; knows no trigger and no message. Values of devices are put in as plain data: shortened, on one
line, and never looked at again for names in braces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_VALUE = 64
"""Characters that one value may take in a sentence."""
UNKNOWN = "unknown"
_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def fill(template: str, values: Mapping[str, Any], *, max_characters: int) -> str:
    """Return `template` with names in braces replaced by their values, `unknown` where there is none."""
    filled = _NAME.sub(lambda found: spoken(values.get(found[1])), template)
    return _cut(filled, max_characters)


def default_sentence(trigger: str, device: str, fields: Mapping[str, Any], *, max_characters: int) -> str:
    """Return the sentence of a trigger without one, as in `overheating: pump-3 (bearing_c 91, speed 75)`."""
    told = ", ".join(f"{name} {spoken(value)}" for name, value in sorted(fields.items()))
    sentence = f"{trigger}: {spoken(device)}" + (f" ({told})" if told else "")
    return _cut(sentence, max_characters)


def spoken(value: Any) -> str:
    """Return a value as it stands in a sentence."""
    match value:
        case None:
            return UNKNOWN
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.10g}"
    return _cut(_one_line(str(value)), MAX_VALUE)


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"

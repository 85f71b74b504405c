"""Text as it is searched: what a reader of the finished page would see, without its marks.

Pure functions over strings; knows nothing of files. Quotations are cut from the raw text, never from this.
"""

from __future__ import annotations

import re

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)|\{#.*?#\}", re.DOTALL)
_TEMPLATE = re.compile(r"\{%[^%\n]{0,200}%\}")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,300}>")
_ATTRIBUTES = re.compile(r"\{[:.#][^}\n]{0,200}\}")
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[\w+-]*[ \t]*$", re.MULTILINE)
_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,400}(?:\n[^\[\]\n]{1,400})?)\](?:\([^()\s]{0,400}(?:\s[^()\n]{0,200})?\)|\[[^\]\n]{0,200}\])"
)
_LINK_DEFINITION = re.compile(r"^[ \t]*\[[^\]\n]{1,200}\]:[ \t]*\S+.*$", re.MULTILINE)
_URL = re.compile(r"https?://[^\s<>)\]]+")
_HEADING_MARK = re.compile(r"^[ \t]{0,3}#{1,6}(?=[ \t])|^[ \t]*([=\-~^\"'+*#])\1{2,}[ \t]*$", re.MULTILINE)
_META_KEY = re.compile(r"^[ \t]*(?:-[ \t]+)?[A-Za-z_][\w-]{0,40}:(?=[ \t]|$)", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*(?:[-*+]|#\.|>)[ \t]+", re.MULTILINE)
_TABLE_RULE = re.compile(r"^[ \t|:+=-]{3,}$", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<!\w)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)")
_RST_ROLE = re.compile(r":[a-z][\w:+-]{0,40}:(?=`)")
_RST_TARGET = re.compile(r"^[ \t]*\.\.[ \t]+_[^\n]{1,200}:[^\n]*$", re.MULTILINE)
_RST_DIRECTIVE = re.compile(r"^[ \t]*\.\.[ \t]+[\w:+-]{1,60}::", re.MULTILINE)
_RST_LINK = re.compile(r"`([^`<\n]{1,300})\s<[^>\n]{1,400}>`_{0,2}")
_SPACE = re.compile(r"\s+")

_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_COMMENT, " "),
    (_TEMPLATE, " "),
    (_FENCE, " "),
    (_RST_TARGET, " "),
    (_RST_DIRECTIVE, " "),
    (_RST_ROLE, " "),
    (_RST_LINK, r"\1"),
    (_LINK_DEFINITION, " "),
    (_LINK, r"\1"),
    (_ATTRIBUTES, " "),
    (_TAG, " "),
    (_URL, " "),
    (_TABLE_RULE, " "),
    (_HEADING_MARK, " "),
    (_BULLET, " "),
    (_EMPHASIS, ""),
)


def cleaned(text: str, *, meta: bool = False) -> str:
    """Return `text` as it is searched, on one line; empty where nothing but marks stood there.

    Args:
        text: Raw text of Markdown, reStructuredText, HTML's visible part or plain text.
        meta: Whether it is front matter, whose keys say nothing.
    """
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    if meta:
        text = _META_KEY.sub(" ", text)
    return _SPACE.sub(" ", text.replace("`", " ").replace("|", " ")).strip()

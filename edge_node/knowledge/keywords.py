"""Questions as full-text queries.

Knows the words that say nothing and the notation of SQLite's FTS5; knows nothing of the index itself.
Whatever a person types becomes quoted words joined by OR, so no text can be a faulty or a costly query.
"""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"\w+(?:[.'\u2019-]\w+)*")
_MOST_WORDS = 48
_LONGEST_WORD = 64
# fmt: off
_EMPTY = frozenset(
    {
        "a", "about", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been",
        "being", "but", "by", "can", "could", "did", "do", "does", "doing", "done", "else", "ever",
        "for", "from", "get", "gets", "had", "has", "have", "having", "he", "her", "here", "him",
        "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "let", "like", "may",
        "me", "might", "mine", "more", "most", "much", "must", "my", "nor", "of", "only", "onto",
        "or", "other", "our", "own", "per", "please", "same", "shall", "she", "should", "so",
        "some", "such", "tell", "than", "that", "the", "their", "them", "then", "there", "these",
        "they", "this", "those", "through", "to", "too", "upon", "us", "very", "was", "we", "were",
        "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with",
        "within", "without", "would", "you", "your", "yours",
    }
)
# fmt: on


def query(text: str) -> str:
    """Return the FTS5 query for what a person asks; empty where the text holds no word.

    Words that say nothing are left out unless there are no others; a word joined by dots, dashes or
    underscores is looked for as a phrase.
    """
    words = dict.fromkeys(
        word[:_LONGEST_WORD] for word in _WORD.findall(unicodedata.normalize("NFC", text).lower())
    )
    telling = [word for word in words if word not in _EMPTY] or list(words)
    # An underscore alone is a word to Python and none to SQLite.
    phrases = [word for word in telling if any(character.isalnum() for character in word)]
    return " OR ".join(f'"{word}"' for word in phrases[:_MOST_WORDS])

"""Attention over a pack: lessons that stand in one row, each seeing their shared beginning and itself.

Knows torch through what it is given and the layout of a pack; knows nothing of lessons or of training. A mask
over the whole row says the same, and costs as much as the rest of the model where a pack has many lessons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "edge_node_packed"
"""What transformers knows this attention by."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the lessons of a row lie.

    Attributes:
        begun: Tokens of the shared beginning, which stands first.
        gather: Place in the row of each token of each lesson, int64 of shape (lessons * longest,); lessons
            that are shorter than the longest repeat their last token.
        scatter: Where each token behind the beginning lies in that, int64 of shape (row - begun,).
        lessons: How many lessons there are.
        before: Whether a token comes before another one, bool of shape (n, n), n the longer of beginning and
            longest lesson.
    """

    begun: int
    gather: Any
    scatter: Any
    lessons: int
    before: Any

    @classmethod
    def of(cls, torch: Any, *, begun: int, lengths: Sequence[int], device: Any) -> Layout:
        """Return the layout of a row with lessons of these lengths, in tokens."""
        longest = max(lengths)
        gather, scatter, start = [], [], begun
        for number, length in enumerate(lengths):
            gather += [start + min(at, length - 1) for at in range(longest)]
            scatter += [number * longest + at for at in range(length)]
            start += length
        side = max(begun, longest)
        return cls(
            begun,
            torch.tensor(gather, device=device),
            torch.tensor(scatter, device=device),
            len(lengths),
            torch.ones(side, side, dtype=torch.bool, device=device).tril(),
        )


def register(torch: Any, transformers: Any) -> None:
    """Make this attention known to transformers under `NAME`."""

    def attend(module: Any, query: Any, key: Any, value: Any, _mask: Any, **told: Any) -> tuple[Any, None]:
        del module
        rows = _attended(torch, query[0] * told["scaling"], key[0], value[0], told["layout"])
        return rows.transpose(0, 1)[None], None

    transformers.AttentionInterface.register(NAME, attend)


def _attended(torch: Any, query: Any, key: Any, value: Any, layout: Layout) -> Any:
    """Return what each token takes from those it sees; shapes (heads, row, size), fewer heads for keys."""
    begun = layout.begun
    first = _inside(query[:, None, :begun], key[:, None, :begun], value[:, None, :begun], layout)
    own_query, own_key, own_value = (_lessons(rows, layout) for rows in (query, key, value))
    heads, lessons, longest, size = own_query.shape
    shared = key.shape[0], heads // key.shape[0] * lessons * longest
    to_begun = own_query.reshape(*shared, size) @ key[:, :begun].transpose(1, 2)
    to_own = _scores(own_query, own_key)
    to_own = to_own.masked_fill(~layout.before[:longest, :longest], float("-inf"))
    weights = torch.cat([to_begun.view(heads, lessons, longest, begun), to_own], -1).softmax(-1)
    taken = weights[..., :begun].reshape(*shared, begun) @ value[:, :begun]
    rest = taken.view(heads, lessons, longest, size) + _summed(weights[..., begun:], own_value)
    rest = rest.reshape(heads, lessons * longest, size).index_select(1, layout.scatter)
    return torch.cat([first[:, 0], rest], 1)


def _lessons(rows: Any, layout: Layout) -> Any:
    heads, _, size = rows.shape
    longest = len(layout.gather) // layout.lessons
    return rows.index_select(1, layout.gather).view(heads, layout.lessons, longest, size)


def _inside(query: Any, key: Any, value: Any, layout: Layout) -> Any:
    """Return what tokens take from those before them in the same piece; shapes (heads, pieces, row, size)."""
    side = query.shape[2]
    scores = _scores(query, key).masked_fill(~layout.before[:side, :side], float("-inf"))
    return _summed(scores.softmax(-1), value)


def _scores(query: Any, key: Any) -> Any:
    """Return the products of each head of queries with its head of keys, piece by piece."""
    heads, pieces, row, size = query.shape
    kinds, seen = key.shape[0], key.shape[2]
    many = heads // kinds
    grouped = query.view(kinds, many, pieces, row, size).transpose(1, 2)
    scores = grouped.reshape(kinds, pieces, many * row, size) @ key.transpose(2, 3)
    return scores.view(kinds, pieces, many, row, seen).transpose(1, 2).reshape(heads, pieces, row, seen)


def _summed(weights: Any, value: Any) -> Any:
    heads, pieces, row, seen = weights.shape
    kinds, size = value.shape[0], value.shape[-1]
    many = heads // kinds
    grouped = weights.view(kinds, many, pieces, row, seen).transpose(1, 2)
    taken = grouped.reshape(kinds, pieces, many * row, seen) @ value
    return taken.view(kinds, pieces, many, row, size).transpose(1, 2).reshape(heads, pieces, row, size)

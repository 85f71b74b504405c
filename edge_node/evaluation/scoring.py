"""Figures for rankings and for times.

Pure functions over identifiers and numbers; knows nothing of documents, questions or indexes.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def ndcg(ranked: Sequence[str], *, relevance: Mapping[str, int], depth: int) -> float:
    """Return the normalised discounted cumulative gain of the first `depth`, 0 to 1.

    The gain is the relevance itself, and each identifier counts once; 0 where nothing is relevant.

    Source: Järvelin and Kekäläinen, ACM TOIS 20(4), 2002, with the logarithm to base 2 of the rank plus
    one, as trec_eval's ndcg_cut has it.
    """
    first = list(dict.fromkeys(ranked))[:depth]
    ideal = _gain(sorted(relevance.values(), reverse=True)[:depth])
    return _gain([relevance.get(identifier, 0) for identifier in first]) / ideal if ideal > 0 else 0.0


def recall(ranked: Sequence[str], *, relevance: Mapping[str, int], depth: int) -> float:
    """Return the share of what is relevant that stands in the first `depth`; 0 where nothing is relevant."""
    wanted = {identifier for identifier, grade in relevance.items() if grade > 0}
    first = set(list(dict.fromkeys(ranked))[:depth])
    return len(wanted & first) / len(wanted) if wanted else 0.0


def percentile(values: Sequence[float], *, percent: float) -> float:
    """Return the smallest of `values` that at least `percent` of them do not exceed; 0 of none.

    Source: the nearest-rank definition of a percentile.
    """
    rank = max(1, math.ceil(percent / 100 * len(values)))
    return sorted(values)[rank - 1] if values else 0.0


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; 0 of none."""
    return fmean(values) if values else 0.0


def share(hits: Sequence[bool]) -> float:
    """Return which share of `hits` is true, 0 to 1; 0 of none."""
    return sum(hits) / len(hits) if hits else 0.0


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))

"""What must hold after every fault, read from outside: from the wire, the journal file and the devices."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.battery.devices import STAMP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.battery.plant import Plant

_SHOWN = 5
_ENDS = ("done", "dead")


def assert_it_held(plant: Plant, *, alike: bool = False) -> None:
    """Fail with everything that does not hold, in sentences.

    Args:
        plant: What was done something to.
        alike: Whether inputs may be alike, so that they cannot be told apart from outside.
    """
    checks = (_integrity, _left_once, *(() if alike else (_one_end_each, _done_once, _in_order)))
    wrong = [complaint for check in checks for complaint in check(plant)]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def _integrity(plant: Plant) -> Iterator[str]:
    said = plant.rows("PRAGMA integrity_check")[0][0]
    if said != "ok":
        yield f"integrity: {said}"
    if list(plant.journal.parent.glob("*.corrupt-*")):
        yield "a journal was set aside"


def _one_end_each(plant: Plant) -> Iterator[str]:
    """Every input that was acknowledged has exactly one end."""
    ends: defaultdict[tuple[str, bytes], Counter[str]] = defaultdict(Counter)
    for topic, payload, state in plant.rows("SELECT topic, payload, state FROM inbox"):
        ends[topic, bytes(payload)][state] += 1
    # A stop is not journaled; a press may report at any time, so that one may always be under way.
    seen = plant.proxy.witness.acknowledged
    ours = {key for key in seen if "/stop/" not in key[0] and not key[0].endswith("/report")}
    if not plant.lossy:
        ours |= plant.feeder.kept
    for name, wrong in (
        ("without an end", [key for key in ours if not sum(ends[key][end] for end in _ENDS)]),
        ("with more than one end", [key for key in ours if sum(ends[key][end] for end in _ENDS) > 1]),
        ("still open", [key for key in ours if ends[key]["open"]]),
    ):
        if wrong:
            yield f"{len(wrong)} of {len(ours)} acknowledged inputs {name}: {wrong[:_SHOWN]}"


def _left_once(plant: Plant) -> Iterator[str]:
    """No stamp left the edge twice under the same identifier."""
    sent: Counter[str] = Counter()
    for (topic, payload), times in plant.proxy.witness.left.items():
        if topic.startswith("plant/") and topic.endswith(f"/{STAMP}"):
            sent[json.loads(payload)["id"]] += times
    twice = [name for name, times in sent.items() if times > 1]
    if twice:
        yield f"{len(twice)} of {len(sent)} stamps left twice: {twice[:_SHOWN]}"


def _done_once(plant: Plant) -> Iterator[str]:
    """No identifier was carried out twice, and no input led to two commands."""
    deeds = list(plant.presses.carried_out())
    ids = Counter(deed.id for deed in deeds)
    twice = [name for name, times in ids.items() if times > 1]
    if twice:
        yield f"{len(twice)} of {len(ids)} identifiers carried out twice: {twice[:_SHOWN]}"
    inputs = Counter((deed.press, deed.count) for deed in deeds)
    again = [key for key, times in inputs.items() if times > 1]
    if again:
        yield f"{len(again)} of {len(inputs)} inputs led to two commands: {again[:_SHOWN]}"


def _in_order(plant: Plant) -> Iterator[str]:
    """Each press was told in the order of the inputs."""
    last: dict[str, int] = {}
    late = []
    for deed in plant.presses.carried_out():
        if deed.count < last.get(deed.press, 0):
            late.append(deed)
        last[deed.press] = max(deed.count, last.get(deed.press, 0))
    if late:
        yield f"{len(late)} deeds out of order: {late[:_SHOWN]}"

from __future__ import annotations

import uuid

from edge_node.identifiers import new_id


def test_identifiers_are_version_seven_and_sort_by_the_order_they_were_made_in() -> None:
    made = [new_id() for _ in range(2000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {uuid.UUID(each).version for each in made} == {7}

"""What several nodes of one edge mean to each other.

Two nodes must not have one name, and must not command one device: neither would know what the other has
ordered, and a limit or an interlock of one would not hold for the other.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING

from edge_node.config.findings import Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_node.config.loaded import Node
    from edge_node.config.models import ApprovalConfig, OperatorsConfig
    from edge_node.config.source import Document, KeyPath
    from edge_node.errors import Problem

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def across_nodes(nodes: Sequence[tuple[Node, Document]]) -> list[Problem]:
    """Return the problems between nodes: one name twice, or one device commanded by two."""
    problems: list[Problem] = []
    for (first, first_file), (second, second_file) in combinations(nodes, 2):
        findings = Findings(second_file)
        if first.name == second.name:
            place = f"{first_file.file}:{first_file.line(('name',))}"
            came = f"{second.name!r}, also the name in {place}"
            findings.add(("name",), expected="a name that no other node has", came=came)
        _check_topics(first, first_file, second, findings)
        problems += findings.problems
    return problems


def check_operators(nodes: Sequence[tuple[Node, Document]], *, operators: OperatorsConfig) -> list[Problem]:
    """Return a problem for each role that a command names and the runtime file does not, and for keys."""
    roles = operators.roles
    problems: list[Problem] = []
    for node, document in nodes:
        findings = Findings(document)
        for name, command in node.spec.commands.items():
            for path, named in (("allow",), command.allow or []), (("approve", "by"), command.approval.by):
                for index, role in enumerate(named):
                    if role not in roles:
                        place: KeyPath = ("commands", name, *path, index)
                        what = "a role of operators.roles in the runtime file"
                        findings.unknown(place, role, what=what, known=roles)
            if command.approval.signed and not _can_be_signed(command.approval, operators):
                findings.add(
                    ("commands", name, "approve", "signed"),
                    expected="somebody who may approve it and has a key under operators.keys",
                    came="nobody",
                )
        problems += findings.problems
    return problems


def _can_be_signed(approval: ApprovalConfig, operators: OperatorsConfig) -> bool:
    members = (user for role in approval.by for user in operators.roles.get(role, ()))
    return any(user in operators.keys for user in (members if approval.by else operators.approve))


def _check_topics(first: Node, first_file: Document, second: Node, findings: Findings) -> None:
    for name, command in second.spec.commands.items():
        for other_name, other in first.spec.commands.items():
            if not overlap(command.publish.topic, other.publish.topic):
                continue
            other_path: KeyPath = ("commands", other_name, "publish", "topic")
            findings.add(
                ("commands", name, "publish", "topic"),
                expected="devices that no other node commands",
                came=f"{command.publish.topic!r}, which {first.name} commands too in "
                f"{first_file.file}:{first_file.line(other_path)}",
                hint="put the commands of a device in one node",
            )
            break


def overlap(one: str, other: str) -> bool:
    """Return whether two topics with names in braces can be the same once they are filled."""
    levels, other_levels = one.split("/"), other.split("/")
    if len(levels) != len(other_levels):
        return False
    return all(_levels_overlap(a, b) for a, b in zip(levels, other_levels, strict=True))


def _levels_overlap(one: str, other: str) -> bool:
    """Return whether two levels can be the same: what stands around the names in braces must agree."""
    parts, other_parts = _PLACEHOLDER.split(one), _PLACEHOLDER.split(other)
    if len(parts) == 1:
        return re.fullmatch("[^/]+".join(map(re.escape, other_parts)), one) is not None
    if len(other_parts) == 1:
        return re.fullmatch("[^/]+".join(map(re.escape, parts)), other) is not None
    heads, tails = (parts[0], other_parts[0]), (parts[-1], other_parts[-1])
    starts = heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])
    return starts and (tails[0].endswith(tails[1]) or tails[1].endswith(tails[0]))

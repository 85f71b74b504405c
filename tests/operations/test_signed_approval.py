"""Approvals that must be signed, and what somebody might try who may not give one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_node.cli import edge_node
from edge_node.config.loaded import Node
from edge_node.config.models import LimitsConfig, NodeConfig, RuntimeConfig
from edge_node.errors import (
    ConfigurationInvalid,
    Denied,
    EnvelopeInvalid,
    KeyUnusable,
    NotPermitted,
    SignatureRefused,
    TransitionInvalid,
)
from edge_node.gate import PolicyGate
from edge_node.identifiers import new_id
from edge_node.journal.journal import Journal
from edge_node.lifecycle import CommandLifecycle
from edge_node.messages import Command, CommandDraft, CommandState, Message, Origin, Request, RequestKind
from edge_node.operations import OperatorDesk
from edge_node.runtime.reading import read_configuration
from edge_node.signing import Signatures, Statement, sign, write_pair
from edge_node.stop import Outlet, StopFile, StopLatch
from edge_node.topics import EdgeTopics
from edge_node.twin import DeviceTwin

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPICS = EdgeTopics("hall-3")
USERS = ("anna", "ben", "eve")
SPEC: dict[str, Any] = {
    "edge_node": 1,
    "name": "gate",
    "ask": True,
    "listen": [{"topic": "gate/{gate}/state", "fields": {"clear": "clear"}}],
    "commands": {
        name: {
            "description": f"{name} a gate.",
            "args": {"gate": {"device": True}},
            "publish": {"topic": "gate/{gate}/set", "payload": name},
            "require": ["clear"],
            "approve": {"by": ["keeper"], "signed": True},
        }
        for name in ("raise", "lower")
    },
}


class Yard:
    """A gate that a keeper opens, on a clock that the test turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        for user in USERS:
            write_pair(folder / f"{user}.key", public_file=folder / f"{user}.pub")
        self.journal = Journal.open(folder / "journal.db", clock=self.clock)
        self.nodes = [Node(NodeConfig.model_validate(SPEC), Path())]
        self.twin = DeviceTwin(self.nodes, limits=LimitsConfig(), clock=self.clock)
        self.lifecycle = CommandLifecycle(self.nodes, clock=self.clock)
        self.say(clear=True)
        self.restart()

    def clock(self) -> float:
        return self.now

    def restart(self) -> None:
        """Make everything anew that holds no file."""
        operators = {"roles": {"keeper": ["anna", "ben"]}, "approve": ["eve"]}
        runtime = RuntimeConfig.model_validate({"edge_node": 1, "edge": "hall-3", "operators": operators})
        self.gate = PolicyGate(
            self.nodes,
            twin=self.twin,
            last_issued=lambda *_: None,
            operators=runtime.operators,
            clock=self.clock,
        )
        self.desk = OperatorDesk(
            runtime,
            topics=TOPICS,
            lifecycle=self.lifecycle,
            gate=self.gate,
            stop=StopLatch(StopFile(self.folder), outlet=Outlet(), boot="b", clock=self.clock),
            twin=self.twin,
            decisions=self.journal.archive,
            signatures=Signatures(
                {user: self.folder / f"{user}.pub" for user in ("anna", "ben")}, counters=self.journal
            ),
        )

    def say(self, **fields: Any) -> None:
        self.twin.observe(Message("m", "gate/g1/state", json.dumps(fields).encode(), self.now))

    def waiting(self, name: str = "raise") -> Command:
        """Return a command that awaits approval."""
        draft = CommandDraft("gate", name, {"gate": "g1"}, Origin.TEMPLATE)
        request = Request("r", RequestKind.ASK, "m", self.now, user="cem")
        command = self.lifecycle.issue(draft, self.gate.judge(draft, request), request)
        assert command.state is CommandState.AWAITING_APPROVAL
        return command

    def body(
        self,
        command: Command,
        *,
        user: str = "anna",
        key: str = "",
        counter: int = 1,
        edge: str = "hall-3",
        operation: str = "approve",
    ) -> dict[str, str]:
        """Return a signed approval."""
        said = Statement(edge, operation, command.id, user, counter)
        signature = sign(said, key_file=self.folder / f"{key or user}.key")
        return {"command_id": command.id, "counter": str(counter), "signature": signature}

    def approve(self, body: dict[str, str], *, user: str = "anna") -> Command:
        """Return the command once it is approved."""
        topic = TOPICS.operation(user, "approve")
        operated = self.desk.carry_out(Message(new_id(), topic, json.dumps(body).encode(), self.now))
        assert operated is not None
        assert len(operated.commands) == 1
        return operated.commands[0]


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path)
    yield made
    made.journal.close()


def test_a_signed_approval_counts(yard: Yard) -> None:
    command = yard.approve(yard.body(yard.waiting()))

    assert (command.state, command.detail) == (CommandState.SENT, "approved by anna")


def test_an_approval_without_a_signature_does_not_count(yard: Yard) -> None:
    waiting = yard.waiting()

    with pytest.raises(SignatureRefused, match="expected a signature"):
        yard.approve({"command_id": waiting.id})
    assert yard.approve(yard.body(waiting)).state is CommandState.SENT


@pytest.mark.parametrize(
    "change",
    [
        {"key": "ben"},  # another's key
        {"key": "eve"},  # a key that nobody knows
        {"edge": "hall-4"},  # said to another edge
        {"operation": "cancel"},  # another thing to do
        {"user": "ben"},  # said by another
    ],
)
def test_a_signature_of_something_else_does_not_count(yard: Yard, change: dict[str, str]) -> None:
    waiting = yard.waiting()

    with pytest.raises(SignatureRefused):
        yard.approve(yard.body(waiting, **change))
    # What was never valid does not use up a counter.
    assert yard.approve(yard.body(waiting)).state is CommandState.SENT


def test_an_approval_of_one_command_does_not_count_for_another(yard: Yard) -> None:
    one, other = yard.waiting("raise"), yard.waiting("lower")

    with pytest.raises(SignatureRefused):
        yard.approve({**yard.body(one), "command_id": other.id})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_an_altered_approval_does_not_count(yard: Yard, data: st.DataObject) -> None:
    waiting = yard.waiting()
    body = yard.body(waiting, counter=10**6)
    key = data.draw(st.sampled_from(["counter", "signature"]))
    at = data.draw(st.integers(0, len(body[key]) - 1))
    sign_there = data.draw(st.characters(codec="ascii").filter(lambda other: other != body[key][at]))
    altered = body[key][:at] + sign_there + body[key][at + 1 :]
    # Bits of the last sign of base64 that stand for nothing may differ and still say the same.
    if key == "signature" and at >= len(altered.rstrip("=")) - 1:
        return

    with pytest.raises(SignatureRefused):
        yard.approve({**body, key: altered})


def test_an_approval_counts_once(yard: Yard) -> None:
    waiting = yard.waiting()
    body = yard.body(waiting)
    yard.say(clear=False)
    with pytest.raises(Denied):
        yard.approve(body)
    yard.say(clear=True)

    # The command still waits, and the rule holds again; what was sent before cannot be sent by anybody else.
    with pytest.raises(SignatureRefused, match="counter above 1"):
        yard.approve(body)
    assert yard.approve(yard.body(waiting, counter=2)).state is CommandState.SENT
    with pytest.raises(TransitionInvalid):
        yard.approve(yard.body(waiting, counter=3))


def test_a_counter_that_goes_back_does_not_count_over_a_restart_either(yard: Yard) -> None:
    yard.approve(yard.body(yard.waiting(), counter=50))
    waiting = yard.waiting()
    yard.restart()

    for counter in (0, 49, 50, -1, 2**53):
        with pytest.raises(SignatureRefused):
            yard.approve(yard.body(waiting, counter=counter))
    # Everybody counts for themselves.
    assert yard.approve(yard.body(waiting, user="ben", counter=1), user="ben").state is CommandState.SENT
    assert yard.approve(yard.body(yard.waiting(), counter=2**53 - 1)).state is CommandState.SENT


def test_an_approval_that_came_too_late_does_not_count(yard: Yard) -> None:
    waiting = yard.waiting()
    body = yard.body(waiting)
    yard.now += 31

    with pytest.raises(TransitionInvalid, match="expired"):
        yard.approve(body)


def test_a_key_gives_no_right(yard: Yard) -> None:
    waiting = yard.waiting()
    for user in ("eve", "cem"):
        with pytest.raises(NotPermitted):
            yard.approve(yard.body(waiting, user=user, key="anna"), user=user)


def test_a_key_file_that_is_exchanged_counts_at_once(yard: Yard) -> None:
    (yard.folder / "anna.pub").write_bytes((yard.folder / "eve.pub").read_bytes())
    waiting = yard.waiting()

    with pytest.raises(SignatureRefused):
        yard.approve(yard.body(waiting))
    assert yard.approve(yard.body(waiting, key="eve")).state is CommandState.SENT


def test_a_private_key_is_no_public_one(yard: Yard) -> None:
    (yard.folder / "anna.pub").write_bytes((yard.folder / "anna.key").read_bytes())

    with pytest.raises(KeyUnusable):
        yard.approve(yard.body(yard.waiting()))


def test_what_is_signed_must_be_texts(yard: Yard) -> None:
    body: dict[str, Any] = {**yard.body(yard.waiting()), "counter": 1}
    with pytest.raises(EnvelopeInvalid, match="counter"):
        yard.approve(body)


def test_what_is_signed_is_canonical_json() -> None:
    said = Statement("hall-3", "approve", 'c-"\\é\u0007', "anna", 7)

    assert (
        said.canonical()
        == (
            '{"command_id":"c-\\"\\\\é\\u0007","counter":7,"edge":"hall-3","operation":"approve","user":"anna"}'
        ).encode()
    )


def test_a_new_pair_is_made_once_and_its_private_half_is_its_owners(tmp_path: Path) -> None:
    made = CliRunner().invoke(edge_node, ["key", "new", "anna", "--folder", str(tmp_path)])
    assert made.exit_code == 0
    assert (tmp_path / "anna.key").stat().st_mode & 0o777 == 0o600
    signature = sign(Statement("e", "approve", "c", "anna", 1), key_file=tmp_path / "anna.key")
    journal = Journal.open(tmp_path / "journal.db", clock=lambda: 1000.0)
    signatures = Signatures({"anna": tmp_path / "anna.pub"}, counters=journal)
    signatures.accept(Statement("e", "approve", "c", "anna", 1), signature)
    journal.close()

    before = (tmp_path / "anna.key").read_bytes()
    again = CliRunner().invoke(edge_node, ["key", "new", "anna", "--folder", str(tmp_path)])
    assert isinstance(again.exception, KeyUnusable)
    assert (tmp_path / "anna.key").read_bytes() == before


def test_a_key_that_cannot_be_used_is_told_with_its_line(tmp_path: Path) -> None:
    node = tmp_path / "nodes" / "gate" / "node.yaml"
    node.parent.mkdir(parents=True)
    node.write_text(json.dumps(SPEC))
    file = tmp_path / "edge-node.yaml"
    roles = "operators:\n  roles: {keeper: [anna]}\n"
    file.write_text(f"edge_node: 1\nedge: hall-3\n{roles}")
    with pytest.raises(ConfigurationInvalid) as caught:
        read_configuration(file)
    assert {problem.key for problem in caught.value.problems} == {
        "commands.raise.approve.signed",
        "commands.lower.approve.signed",
    }

    file.write_text(f"edge_node: 1\nedge: hall-3\n{roles}  keys:\n    anna: anna.pub\n")
    with pytest.raises(ConfigurationInvalid) as caught:
        read_configuration(file)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (6, "operators.keys.anna")

    write_pair(tmp_path / "anna.key", public_file=tmp_path / "anna.pub")
    assert read_configuration(file).keys == {"anna": tmp_path / "anna.pub"}

"""The labelled points between a message's arrival and its publication, at which the edge can be killed.

Each is the boundary of a function of the product, which knows nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """A point before or after a call.

    Attributes:
        name: Name of the point.
        module: Module of the function.
        path: The function within its module.
        before: Whether the point lies before the call.
    """

    name: str
    module: str
    path: str
    before: bool = False


LABELS = (
    Label("arrived", "edge_node.runtime.service", "Service._receive", before=True),
    Label("inbox row written, not committed", "edge_node.journal.inbox", "insert"),
    Label("committed, not acknowledged", "edge_node.bus.client", "MqttBus.acknowledge", before=True),
    Label("acknowledgement asked for", "edge_node.bus.client", "MqttBus.acknowledge"),
    Label("acknowledgement sent", "edge_node.bus.frugal", "FrugalClient.acknowledge"),
    Label("queued", "edge_node.runtime.backlog", "Backlog.put"),
    Label("taken from the queue", "edge_node.runtime.backlog", "Backlog.take"),
    Label("seen by the twin", "edge_node.twin", "DeviceTwin.observe"),
    Label("triggers asked", "edge_node.triggers.engine", "TriggerEngine.requests"),
    Label("understood", "edge_node.understand.cascade", "Cascade.draft"),
    Label("judged", "edge_node.gate.policy", "PolicyGate.judge"),
    Label("issued", "edge_node.lifecycle.commands", "CommandLifecycle.issue"),
    Label("announced", "edge_node.announcing", "Announcing.outgoing"),
    Label("before the end is written", "edge_node.journal.journal", "Journal.conclude", before=True),
    Label("outbox row written, not committed", "edge_node.journal.outbox", "add"),
    Label("end written", "edge_node.journal.journal", "Journal.conclude"),
    Label("outbox read", "edge_node.journal.journal", "Journal.pending"),
    Label("before it is marked sent", "edge_node.journal.journal", "Journal.mark_sent", before=True),
    Label("marked sent", "edge_node.journal.journal", "Journal.mark_sent"),
    Label("handed to the connection", "edge_node.bus.client", "MqttBus.publish"),
    Label("written to the socket", "paho.mqtt.client", "Client.publish"),
    Label("broker has it", "edge_node.runtime.publisher", "Publisher._arrived", before=True),
    Label("delivery asked to be written", "edge_node.runtime.publisher", "Publisher._arrived"),
    Label("delivery written, not committed", "edge_node.journal.outbox", "end"),
    Label("acknowledged in its life", "edge_node.lifecycle.commands", "CommandLifecycle.acknowledged"),
)

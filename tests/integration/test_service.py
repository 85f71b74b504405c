"""The service on mosquitto and on the embedded broker: alarms, questions and orders, as people send them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_node.demo.site import Site
from tests.integration.edges import (
    ANSWER_S,
    NODES,
    QUESTION,
    correlation_of,
    data_of,
    edge_node,
    last_reply,
    mosquitto_tool,
    small_nodes,
    stands_where_it_says,
)

if TYPE_CHECKING:
    from pathlib import Path

    from edge_node.messages import Message
    from tests.integration.conftest import Plant

pytestmark = [pytest.mark.broker, pytest.mark.models]


def test_its_description_is_retained_and_names_nodes_and_models(plant: Plant) -> None:
    topics = plant.edge.topics
    said = mosquitto_tool("mosquitto_sub", plant.edge.port, "-t", topics.info, "-C", "1", "-W", "20")
    about = json.loads(said)
    assert set(about["nodes"]) == {"agv", "home", "log-watch", "manual-desk", "pump-guard", "rover"}
    assert about["model"] == "smollm2-135m-instruct"
    assert about["embedding"] == "all-minilm-l6-v2"


def test_its_state_is_retained(plant: Plant) -> None:
    words = ("-t", plant.edge.topics.status, "-C", "1", "-W", "20")
    assert mosquitto_tool("mosquitto_sub", plant.edge.port, *words) == b"ready\n"


def test_an_alarm_becomes_a_command_that_the_device_shows(plant: Plant) -> None:
    since, before = len(plant.observer.said), len(plant.pump.orders)
    plant.pump.fault()

    def is_end(message: Message) -> bool:
        if not message.topic.startswith(plant.edge.topics.command("")):
            return False
        return bool(data_of(message)["final"]) and data_of(message)["device"] == "pump-1"

    end = plant.observer.wait_for(is_end, timeout_s=ANSWER_S, since=since)
    assert end is not None
    assert data_of(end)["state"] == "verified"
    assert data_of(end)["arguments"] == {"pump": "pump-1", "percent": 30}
    assert [order.id for order in plant.pump.orders[before:]] == [data_of(end)["command_id"]]
    event = plant.observer.wait_for(
        lambda message: message.topic == plant.edge.topics.event("overheating"),
        timeout_s=ANSWER_S,
        since=since,
    )
    assert event is not None
    assert data_of(event)["device"] == "pump-1"
    plant.pump.repair()


def test_a_question_is_answered_with_words_that_stand_where_it_says(plant: Plant) -> None:
    with plant.edge.client("ada") as client:
        reply = last_reply(client, QUESTION)
    assert reply.kind == "answer"
    assert "2,000 operating hours" in reply.text
    quotations = reply.data["quotations"]
    assert quotations
    node = NODES / reply.data["node"]
    assert all(stands_where_it_says(quotation, node=node) for quotation in quotations)


def test_an_order_is_told_step_by_step_until_the_device_shows_it(plant: Plant) -> None:
    before = len(plant.spare.orders)
    with plant.edge.client("ada") as client:
        replies = list(client.ask("slow pump two down to forty percent", timeout_s=ANSWER_S))
    assert replies[0].data["state"] == "sent"
    assert replies[-1].data["state"] == "verified"
    assert replies[-1].data["arguments"] == {"pump": "pump-2", "percent": 40}
    assert [order.body for order in plant.spare.orders[before:]] == [
        {"speed": 40, "id": replies[-1].data["command_id"]}
    ]


def test_a_forbidden_order_is_denied_with_its_reason_and_never_reaches_the_device(plant: Plant) -> None:
    before = plant.spare.orders
    with plant.edge.client("ada") as client:
        replies = list(client.ask("set pump two to 150 percent", timeout_s=ANSWER_S))
    assert [reply.data["state"] for reply in replies] == ["denied"]
    assert "150" in replies[0].data["reason"]
    assert plant.spare.orders == before


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ((QUESTION,), 0, "2,000 operating hours"),
        (("slow", "pump", "two", "down", "to", "35", "percent"), 0, "verified"),
        (("set pump two to 150 percent",), 1, "denied"),
        (("How do I renew my passport?",), 1, "not in the manuals"),
        (("--node", "nobody", QUESTION), 1, "pump-guard"),
    ],
    ids=["answer", "order", "denied", "not in the manuals", "unknown node"],
)
def test_asking_on_the_command_line_tells_by_its_exit_status_how_it_went(
    words: tuple[str, ...], status: int, says: str, plant: Plant, home: Path
) -> None:
    done = edge_node("ask", "--config", str(plant.edge.config_file), "--user", "ada", *words, home=home)
    assert done.returncode == status, done.stderr
    assert says in done.stdout
    # What no node was asked leads to no decision, and so to no reason.
    assert done.stderr.startswith("why: edge-node explain ") != ("nobody" in words)


def _asked_with_the_tools_of_mosquitto(
    port: int, *, reply: str, ask: str, text: str, version: str
) -> dict[str, Any]:
    """Return the first reply to plain text; the broker keeps it between the calls of the tools."""
    lasting = ("-x", "600") if version == "mqttv5" else ()
    session = ("-V", version, "-c", "-i", "tools", "-q", "1", "-t", reply, *lasting)
    mosquitto_tool("mosquitto_sub", port, *session, "-E")
    mosquitto_tool("mosquitto_pub", port, "-V", version, "-q", "1", "-t", ask, "-m", text)
    said = mosquitto_tool("mosquitto_sub", port, *session, "-C", "1", "-W", str(int(ANSWER_S)))
    envelope: dict[str, Any] = json.loads(said)
    return envelope


def test_plain_text_over_mqtt_3_1_1_is_answered_on_the_reply_topic(plant: Plant) -> None:
    topics = plant.edge.topics
    envelope = _asked_with_the_tools_of_mosquitto(
        plant.edge.port,
        reply=topics.reply("eve"),
        ask=topics.ask("eve"),
        text=QUESTION,
        version="mqttv311",
    )
    assert envelope["type"] == "answer"
    assert envelope["src"] == plant.edge.topics.edge
    assert "2,000 operating hours" in envelope["data"]["text"]


def test_the_tools_of_mosquitto_speak_to_the_site_of_the_demo_over_mqtt_5(tmp_path: Path) -> None:
    with Site(tmp_path / "site", nodes=small_nodes(tmp_path / "nodes")) as site:
        reply, ask = site.topics.reply("eve"), site.topics.ask("eve")
        envelope = _asked_with_the_tools_of_mosquitto(
            site.port, version="mqttv5", reply=reply, ask=ask, text=QUESTION
        )
    assert "2,000 operating hours" in envelope["data"]["text"]


def test_an_answer_goes_to_the_response_topic_in_the_own_reply_space(plant: Plant) -> None:
    since = len(plant.observer.said)
    topics = plant.edge.topics
    wanted = topics.reply("ada") + "/inbox-7"
    _ask_with_response_topic(
        plant, response_topic=wanted, correlation="7", text="set pump two to 150 percent"
    )
    reply = plant.observer.wait_for(
        lambda message: message.topic.startswith(topics.reply("ada")), timeout_s=ANSWER_S, since=since
    )
    assert reply is not None
    assert reply.topic == wanted
    assert reply.correlation == b"7"
    assert data_of(reply)["state"] == "denied"


def test_what_cannot_be_read_is_told_on_the_response_topic_too(plant: Plant) -> None:
    since = len(plant.observer.said)
    topics = plant.edge.topics
    wanted = topics.reply("ada") + "/inbox-8"
    _ask_with_response_topic(plant, response_topic=wanted, correlation="8", text="{")
    reply = plant.observer.wait_for(
        lambda message: message.topic.startswith(topics.reply("ada")), timeout_s=ANSWER_S, since=since
    )
    assert reply is not None
    assert (reply.topic, reply.correlation) == (wanted, b"8")
    assert data_of(reply)["error"]["code"] == "payload_invalid"


@pytest.mark.parametrize("foreign", ["reply/bob", "reply/adam", "plant/pump-2/set"])
def test_a_response_topic_elsewhere_is_refused_and_nothing_is_said_there(plant: Plant, foreign: str) -> None:
    since = len(plant.observer.said)
    topics = plant.edge.topics
    elsewhere = f"{topics.root}/{foreign}" if foreign.startswith("reply") else foreign
    before = plant.spare.orders
    _ask_with_response_topic(plant, response_topic=elsewhere, correlation=foreign, text="nice weather today")
    error = plant.observer.wait_for(
        lambda message: message.topic == topics.reply("ada"), timeout_s=ANSWER_S, since=since
    )
    assert error is not None
    assert data_of(error)["error"]["field"] == "response_topic"
    with plant.edge.client("carl") as client:
        last_reply(client, "set pump two to 150 percent")
    assert elsewhere not in {message.topic for message in plant.observer.said[since:]}
    assert plant.spare.orders == before


def _ask_with_response_topic(plant: Plant, *, response_topic: str, correlation: str, text: str) -> None:
    named = {"response-topic": response_topic, "correlation-data": correlation}
    properties = [word for name, value in named.items() for word in ("-D", "publish", name, value)]
    ask = plant.edge.topics.ask("ada")
    words = ("-V", "mqttv5", "-q", "1", "-t", ask, "-m", text, *properties)
    mosquitto_tool("mosquitto_pub", plant.edge.port, *words)


def test_a_refused_question_hands_back_the_correlation_in_its_json(plant: Plant) -> None:
    since = len(plant.observer.said)
    topics = plant.edge.topics
    body = json.dumps({"text": QUESTION, "node": "nobody", "correlation": "mine"})
    words = ("-V", "mqttv311", "-q", "1", "-t", topics.ask("eve"), "-m", body)
    mosquitto_tool("mosquitto_pub", plant.edge.port, *words)
    error = plant.observer.wait_for(
        lambda message: message.topic == topics.reply("eve"), timeout_s=ANSWER_S, since=since
    )
    assert error is not None
    assert correlation_of(error) == "mine"

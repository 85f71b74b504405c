from __future__ import annotations

from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge_node.errors import TopicInvalid
from edge_node.topics import EdgeTopics, TopicPattern, check_topic, is_name, may_overlap

TOPICS = EdgeTopics("hall-3")
LEVELS = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/+#{}"), min_size=1, max_size=8
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
SMALL = st.sampled_from(["a", "b", "a.b", "", "$SYS", "line\nbreak"])


@st.composite
def patterns(draw: st.DrawFn, levels: st.SearchStrategy[str] = LEVELS) -> str:
    """Draw a pattern of literal levels, names in braces, `+` and perhaps `#` at the end."""
    names = draw(st.lists(NAMES, unique=True, max_size=3))
    parts = [f"{{{name}}}" for name in names] + draw(st.lists(st.just("+") | levels, min_size=1, max_size=4))
    parts = draw(st.permutations(parts))
    return "/".join([*parts, "#"] if draw(st.booleans()) else parts)


@given(patterns(), st.data())
def test_a_topic_built_from_a_pattern_matches_and_gives_back_its_names(
    source: str, data: st.DataObject
) -> None:
    values: dict[str, str] = {}
    built: list[str] = []
    for part in source.split("/"):
        if part == "#":
            built += data.draw(st.lists(LEVELS, max_size=3))
        elif part == "+":
            built.append(data.draw(LEVELS))
        elif part.startswith("{"):
            values[part[1:-1]] = data.draw(LEVELS)
            built.append(values[part[1:-1]])
        else:
            built.append(part)
    assume(not built[0].startswith("$") or not source.startswith(("+", "{", "#")))

    pattern = TopicPattern.parse(source)

    assert pattern.match("/".join(built)) == values
    assert pattern.names == tuple(values)
    assert topic_matches_sub(pattern.filter, "/".join(built))


@given(patterns(SMALL), st.lists(SMALL, min_size=1, max_size=6).map("/".join))
def test_what_matches_is_what_the_filter_subscribes_to_with_every_name_filled(
    source: str, topic: str
) -> None:
    assume(topic)
    pattern = TopicPattern.parse(source)
    delivered = topic_matches_sub(pattern.filter, topic)
    named = [place for place, part in enumerate(source.split("/")) if part.startswith("{")]
    filled = delivered and all(topic.split("/")[place] for place in named)

    assert (pattern.match(topic) is not None) == filled


def test_wildcards_at_the_front_leave_the_brokers_own_topics_out() -> None:
    for source in ("#", "+/load", "{device}/load"):
        assert TopicPattern.parse(source).match("$SYS/load") is None
    assert TopicPattern.parse("$SYS/{name}").match("$SYS/load") == {"name": "load"}


def test_a_closing_wildcard_takes_the_level_above_it_too() -> None:
    pattern = TopicPattern.parse("plant/{pump}/#")

    assert pattern.filter == "plant/+/#"
    assert pattern.match("plant/p1") == {"pump": "p1"}
    assert pattern.match("plant/p1/a/b") == {"pump": "p1"}
    assert pattern.match("plant/p1/line\nbreak") == {"pump": "p1"}
    assert pattern.match("plant//a") is None
    assert pattern.match("plant") is None


@pytest.mark.parametrize(
    "source", ["a/#/b", "a#", "a/b+", "plant-{pump}", "{pump}s", "{Pump}", "{}", "{a}/{a}", "{a", "a}", "##"]
)
def test_a_level_that_is_neither_name_nor_wildcard_nor_text_is_refused(source: str) -> None:
    with pytest.raises(TopicInvalid):
        TopicPattern.parse(source)


@given(st.lists(LEVELS, min_size=1, max_size=5).map("/".join))
def test_a_topic_of_text_may_be_published_on(topic: str) -> None:
    assert check_topic(topic) == topic


@given(LEVELS, st.sampled_from("+#\x00\x1f\x7f\x85\ud800"), LEVELS)
def test_wildcards_control_characters_and_halves_of_characters_are_refused(
    before: str, sign: str, after: str
) -> None:
    with pytest.raises(TopicInvalid):
        check_topic(before + sign + after)


def test_the_length_of_a_topic_is_counted_in_bytes() -> None:
    assert check_topic("ü" * 32_767)
    with pytest.raises(TopicInvalid, match="1 to 65535 bytes"):
        check_topic("ü" * 32_768)
    with pytest.raises(TopicInvalid, match="1 to 65535 bytes"):
        check_topic("")


@given(LEVELS)
def test_who_asks_is_read_back_from_the_topic_they_ask_on(user: str) -> None:
    assert TOPICS.asking_user(TOPICS.ask(user)) == user
    assert TopicPattern.parse(TOPICS.asks).match(TOPICS.ask(user)) is not None


@pytest.mark.parametrize(
    "topic",
    [
        "edge/v1/hall-3/ask/",
        "edge/v1/hall-3/ask",
        "edge/v1/hall-3/ask/ada/more",
        "edge/v1/hall-33/ask/ada",
        "edge/v1/other/ask/ada",
        "edge/v1/hall-3/reply/ada",
        "x/edge/v1/hall-3/ask/ada",
    ],
)
def test_no_other_topic_names_somebody_who_asks(topic: str) -> None:
    assert TOPICS.asking_user(topic) is None


@given(LEVELS, st.lists(LEVELS, max_size=3))
def test_an_answer_may_go_anywhere_in_the_callers_own_space(user: str, below: list[str]) -> None:
    assert TOPICS.may_reply_to("/".join([TOPICS.reply(user), *below]), user=user)


@given(LEVELS, LEVELS)
def test_an_answer_may_not_go_to_somebody_elses_space(user: str, other: str) -> None:
    assume(user != other)
    assert not TOPICS.may_reply_to(TOPICS.reply(other), user=user)
    assert not TOPICS.may_reply_to(TOPICS.reply(user) + other, user=user)
    assert not TOPICS.may_reply_to(TOPICS.ask(user), user=user)
    assert not TOPICS.may_reply_to("plant/pump-1/set", user=user)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True))
def test_a_name_fills_one_level_of_a_topic(name: str) -> None:
    assert is_name(name)
    assert check_topic(TOPICS.reply(name)).split("/")[-1] == name


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a b", "a/b", "+", "#", "é", "a" * 65, "a\n"])
def test_what_is_no_name_may_not_stand_in_a_topic(name: str) -> None:
    assert not is_name(name)


def test_the_topics_of_an_edge_stand_below_its_root() -> None:
    assert [TOPICS.status, TOPICS.info, TOPICS.asks] == [
        "edge/v1/hall-3/status",
        "edge/v1/hall-3/info",
        "edge/v1/hall-3/ask/+",
    ]
    assert [TOPICS.command("c"), TOPICS.event("hot"), TOPICS.dead("busy")] == [
        "edge/v1/hall-3/cmd/c",
        "edge/v1/hall-3/event/hot",
        "edge/v1/hall-3/dead/busy",
    ]


def test_filters_overlap_exactly_where_some_topic_matches_both() -> None:
    topics = ["/".join(levels) for depth in (1, 2, 3, 4) for levels in product("ab", repeat=depth)]
    starts = [levels for depth in (0, 1, 2, 3) for levels in product("ab+", repeat=depth)]
    filters = ["/".join([*start, *end]) for start in starts for end in ([], ["#"]) if start or end]
    matching = {name: {topic for topic in topics if topic_matches_sub(name, topic)} for name in filters}

    for one, other in product(filters, repeat=2):
        assert may_overlap(one, other) == bool(matching[one] & matching[other]), (one, other)


def test_a_shared_subscription_overlaps_as_its_filter_does() -> None:
    assert may_overlap("$share/halls/a/+", "a/b")
    assert not may_overlap("$share/halls/a/+", "b/+")

"""Orders whose words a template accounts for, made into commands.

Knows templates, the devices of the twin and what they tell; knows nothing of embedding or language models.
Where words may mean several things, it says what to ask back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_node.messages import CommandDraft, NothingDraft, Origin
from edge_node.understand.asking import ask_for_argument, call_in_words
from edge_node.understand.doubts import (
    LONGEST_ORDER,
    clauses,
    contradiction,
    impossible_number,
    is_asked,
    is_report,
    quoted,
)
from edge_node.understand.forms import Grade
from edge_node.understand.offers import which_of
from edge_node.understand.speech import is_question, is_statement, without_courtesy
from edge_node.understand.templates import Templates
from edge_node.understand.values import digits
from edge_node.understand.words import clean, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import Request
    from edge_node.protocols import Twin
    from edge_node.understand.phrases import Phrase, Phrases
    from edge_node.understand.templates import Match


class TemplateOrders:
    """The templates of some nodes, with what their devices tell.

    Args:
        nodes: The nodes whose commands may be ordered.
        twin: Devices and their states.

    Raises:
        ConfigurationInvalid: A sentence template cannot be parsed.
    """

    def __init__(self, nodes: Sequence[Node], *, twin: Twin) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._twin = twin
        self._templates = Templates(nodes)

    def draft(
        self, request: Request, said: str, *, nodes: Sequence[str], able: bool = True
    ) -> CommandDraft | NothingDraft | None:
        """Return the one command whose template the words are a whole example of, if there is one.

        Args:
            request: The request.
            said: What was said.
            nodes: The nodes that are asked.
            able: Whether a device that is called otherwise than its argument must have what is to be changed.
        """
        devices = self._devices(nodes)
        found = self._templates.matches(said, devices=devices)
        # A free text could swallow a question whole; only the template's own words make an order of one.
        if is_question(without_courtesy(said)):
            found = [match for match in found if not match.free]
        if able:
            found = [match for match in found if not match.misfits or self._is_able(match)]
        if not found:
            return None
        if len(found) > 1:
            return self._which_of(request, found, devices)
        return asked_back(request, self._completed(found[0], devices[found[0].node], request))

    def _which_of(
        self, request: Request, found: Sequence[Match], devices: Mapping[str, tuple[str, ...]]
    ) -> NothingDraft:
        """Return the question which of several commands is meant, with those that need nothing more said."""
        drafts = [self._completed(match, devices[match.node], request) for match in found]
        whole = [draft for draft in drafts if isinstance(draft, CommandDraft)]
        if len(whole) == len(drafts):
            return which_of(whole, node=request.node)
        calls = " or ".join(
            call_in_words(match.command, match.arguments) if match.is_named else match.command
            for match in found
        )
        return NothingDraft(request.node, f"did you mean {calls}?", code="ask_back")

    def _for_each(
        self, match: Match, name: str, meant: Sequence[str], request: Request
    ) -> tuple[CommandDraft, ...]:
        """Return the command of a match for each of the devices that one of its words may mean."""
        named = {key: phrase for key, phrase in match.named.items() if key != name}
        drafts = [
            self._completed(
                replace(match, arguments={**match.arguments, name: device}, named=named),
                self._twin.devices(match.node),
                request,
            )
            for device in meant
        ]
        return tuple(draft for draft in drafts if isinstance(draft, CommandDraft))

    def doubt(self, request: Request, *, nodes: Sequence[str]) -> NothingDraft | None:
        """Return what to ask back about an order that is only a part of what was said, if there is one."""
        marked = [(words, "it stands in quotation marks") for words in quoted(request.text)]
        parted = [(words, "there was more beside it") for words in clauses(request.text)]
        # A question with an order in it is a question.
        parted = [] if is_question(request.text) else parted
        for words, why in (*marked, *parted):
            found = self._templates.matches(clean(words), devices=self._devices(nodes))
            if found and not found[0].free and found[0].is_named:
                call = call_in_words(found[0].command, found[0].arguments)
                reason = f"did you mean {call}? {why}; if it is an order, say only that"
                return NothingDraft(found[0].node, reason, code="ask_back")
        return None

    def is_report(self, request: Request, *, nodes: Sequence[str]) -> bool:
        """Return whether what was said tells what somebody or a device does, by a verb of the templates."""
        said = digits(clean(request.text))
        for name in nodes:
            verbs = self._templates.verbs(name)
            named = self._templates.phrases(name, self._twin.devices(name)).find(said)
            begins = next((phrase.end for phrase in named if not phrase.start), 0)
            if is_report(said[begins:] if begins else said, verbs=verbs):
                return True
        return False

    def fits(self, said: str, *, node: str) -> bool:
        """Return whether a sentence is an example of a template of a node."""
        return bool(self._templates.matches(said, devices=self._devices((node,))))

    def phrases(self, nodes: Sequence[str]) -> dict[str, Phrases]:
        """Return what may be named in each of some nodes now."""
        return {name: self._templates.phrases(name, self._twin.devices(name)) for name in nodes}

    def _devices(self, nodes: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return {name: self._twin.devices(name) for name in nodes}

    def _completed(
        self, match: Match, devices: tuple[str, ...], request: Request
    ) -> CommandDraft | NothingDraft:
        command = self._nodes[match.node].spec.commands[match.command]
        arguments: dict[str, Any] = {}
        for name, argument in command.args.items():
            value = match.arguments.get(name, argument.default)
            if name in match.named:
                if not match.named[name].values:
                    reason = f"there is no {value}; there are {', '.join(devices) or 'no devices'}"
                    return NothingDraft(match.node, reason, code="ask_back")
                meant = self._meant(match, match.named[name], request)
                # Of a device that was not named at all, it is asked even where there is but one.
                if len(meant) > 1 or not match.is_named:
                    question = ask_for_argument(name, argument, devices=meant)
                    offers = self._for_each(match, name, meant, request)
                    return NothingDraft(match.node, question, code="ask_back", offers=offers)
                value = meant[0]
            if value is None and argument.optional:
                continue
            if value is None:
                question = ask_for_argument(name, argument, devices=devices)
                return NothingDraft(match.node, question, code="ask_back")
            arguments[name] = value
        return CommandDraft(match.node, match.command, arguments, Origin.TEMPLATE)

    def _meant(self, match: Match, phrase: Phrase, request: Request) -> tuple[str, ...]:
        """Return which of the devices that a phrase names can be meant.

        Those that tell the value that is to be changed, and of these, where only a noun or a place was said,
        those in the place where it was said.
        """
        left: tuple[str, ...] = phrase.values
        left = tuple(device for device in left if self._tells(match, device)) or left
        if phrase.grade is Grade.PART:
            names = self.phrases((match.node,))[match.node]
            for place in request.context.values():
                left = names.within(place, left) or left
        return left

    def _is_able(self, match: Match) -> bool:
        """Return whether a device of a match tells the value that the command changes."""
        devices = [device for phrase in match.named.values() for device in phrase.values]
        return not devices or any(self._tells(match, device) for device in devices)

    def _tells(self, match: Match, device: str) -> bool:
        expect = self._nodes[match.node].spec.commands[match.command].expect
        state = self._twin.state(match.node, device)
        fields: Mapping[str, Any] = state.fields if state is not None else {}
        return expect is None or expect.field in fields


def asked_back(
    request: Request, draft: CommandDraft | NothingDraft | None
) -> CommandDraft | NothingDraft | None:
    """Return a draft, or what to ask back where the words of an order end as a question does."""
    if not isinstance(draft, CommandDraft) or not is_asked(request.text):
        return draft
    call = call_in_words(draft.name, draft.arguments)
    reason = f"did you mean {call}? if it is an order, say it without the question mark"
    return NothingDraft(draft.node, reason, code="ask_back", offers=(draft,))


def no_order(request: Request) -> NothingDraft | None:
    """Return why words can be no order, where that can be told without a model."""
    if is_question(request.text) or is_statement(request.text):
        return None
    if len(words_of(request.text)) > LONGEST_ORDER:
        reason = "that is too long for an order; say in one sentence what is to be done"
        return NothingDraft(request.node, reason, code="ask_back")
    opposites = contradiction(request.text)
    if opposites:
        reason = f"{opposites} contradict each other; say one of them"
        return NothingDraft(request.node, reason, code="ask_back")
    number = impossible_number(request.text)
    if number:
        reason = f"{number} is no number that a machine can be set to"
        return NothingDraft(request.node, reason, code="ask_back")
    return None

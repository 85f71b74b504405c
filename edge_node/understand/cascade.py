"""The cheap tiers of understanding: rules, sentence templates, nearest examples.

Knows node files, the devices of the twin and an embedding model; knows nothing of the language model
and of the gate. Each tier settles a request or hands it on; what none settles is left open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_node.messages import CommandDraft, NothingDraft, Open, Origin, RequestKind
from edge_node.understand.asking import ask_for_argument, call_in_words
from edge_node.understand.doubts import LONGEST_ORDER, impossible_number, is_asked, quoted
from edge_node.understand.exemplary import ExampleOrders
from edge_node.understand.nearest import NearestExamples
from edge_node.understand.following import FollowUps
from edge_node.understand.habits import plain
from edge_node.understand.phrases import DEVICE, Grade
from edge_node.understand.recent import Recent
from edge_node.understand.relative import RelativeOrders
from edge_node.understand.rules import Rules
from edge_node.understand.speech import is_question, is_statement, reservation, without_courtesy
from edge_node.understand.templates import Templates
from edge_node.understand.values import digits
from edge_node.understand.words import clean, is_readable, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_node.config.loaded import Node
    from edge_node.messages import Draft, Request
    from edge_node.protocols import Embedder, Twin
    from edge_node.understand.phrases import Phrase, Phrases
    from edge_node.understand.templates import Match

# Below this cosine no example is near: chat and statements stay under it, paraphrased orders above.
_NEAR = 0.45
_COMMANDS_SHOWN = 3
_EXAMPLES_SHOWN = 4
_MOST_SEARCHED = 500


class Cascade:
    """What is understood without the language model.

    Args:
        nodes: All nodes of this edge.
        twin: Devices and their states.
        embedder: Sentences to vectors.

    Raises:
        ConfigurationInvalid: A sentence template cannot be parsed.
    """

    def __init__(self, nodes: Sequence[Node], *, twin: Twin, embedder: Embedder) -> None:
        asked = [node for node in nodes if node.spec.ask]
        self._nodes = {node.name: node for node in nodes}
        self._asked = tuple(node.name for node in asked)
        self._twin = twin
        self._rules = Rules(nodes, twin=twin)
        self._templates = Templates(asked)
        self._follow_ups = FollowUps(self._nodes)
        self._relative = RelativeOrders(asked, twin=twin)
        self._recent = Recent()
        self._nearest = NearestExamples(asked, embedder=embedder)
        self._examples = ExampleOrders(asked, twin=twin, embedder=embedder)
        self._examples.prepare()

    def prepare(self) -> None:
        """Reckon now what the first order would else wait for."""
        self._nearest.prepare()

    def draft(self, request: Request) -> Draft | Open:
        """Return a draft, or what is still open for the model."""
        if request.kind is RequestKind.ALARM:
            return self._rules.draft(request)
        if request.kind is RequestKind.ALERT:
            return NothingDraft(request.node, "an alert only tells", code="alert")
        names = (request.node,) if request.node else self._asked
        settled = self._settled(request, names)
        self._remember(request, settled, names)
        if settled is not None:
            return settled
        if is_question(request.text) or is_statement(request.text):
            return Open(request.node, question=True)
        return self._by_nearest(request, names)

    def _settled(self, request: Request, names: tuple[str, ...]) -> CommandDraft | NothingDraft | None:
        return (
            self._refusal(request, names)
            or self._by_template(request, clean(request.text), names)
            or self._asked_back(request, self._by_what_was(request, names))
            or self._by_template(request, clean(request.text), names, able=False)
            or self._doubtful(request, names)
            or self._examples.draft(request, nodes=names)
        )

    def _remember(
        self, request: Request, settled: CommandDraft | NothingDraft | None, names: tuple[str, ...]
    ) -> None:
        """Keep what was ordered for what is said next, and forget it where another device is spoken of."""
        if isinstance(settled, CommandDraft):
            args = self._nodes[settled.node].spec.commands[settled.name].args
            devices = tuple(str(settled.arguments[name]) for name in args if args[name].device and name in settled.arguments)
            self._recent.keep(request, settled, devices)
            return
        last = self._recent.last(request)
        if last is not None and last.draft.node in names and len(request.text) <= _MOST_SEARCHED:
            phrases = self._phrases(names)[last.draft.node]
            spoken = {value for phrase in phrases.find(digits(request.text)) if phrase.kind == DEVICE for value in phrase.values}
            if not spoken <= set(last.devices):
                self._recent.forget(request)

    def _phrases(self, names: tuple[str, ...]) -> dict[str, Phrases]:
        return {name: self._templates.phrases(name, self._twin.devices(name)) for name in names}

    def _by_what_was(self, request: Request, names: tuple[str, ...]) -> CommandDraft | NothingDraft | None:
        """Return what rests on the last order, or on how things are now."""
        text = clean(request.text)
        if len(words_of(text)) > LONGEST_ORDER or is_question(without_courtesy(text)) or reservation(text):
            return None
        phrases = self._phrases(names)
        last = self._recent.last(request)
        if last is not None and last.draft.node not in phrases:
            last = None
        bare = plain(text)
        repeated = self._follow_ups.repeated(text, last=last, phrases=phrases)
        if repeated is not None:
            return repeated
        named = self._follow_ups.named(bare, last=last, phrases=phrases)
        if isinstance(named, NothingDraft):
            return named if self._is_order(bare, names) else None
        settled = self._by_template(request, named, names) if named else None
        about = (last.draft.node, last.devices[0]) if last is not None and len(last.devices) == 1 else ("", "")
        settled = settled or self._relative.draft(named or bare, phrases=phrases, last=about)
        if settled is None and last is None and self._is_order(bare, names):
            return NothingDraft(request.node, "which device do you mean? say its name", code="ask_back")
        return settled

    def _is_order(self, text: str, names: tuple[str, ...]) -> bool:
        """Return whether a text would be an order if 'it' and 'the other one' were devices."""
        for name in names:
            devices = self._twin.devices(name)
            said = self._follow_ups.with_any(text, devices[0]) if devices else text
            if said != text and self._templates.matches(said, devices={name: devices}):
                return True
        return False

    def _refusal(self, request: Request, names: tuple[str, ...]) -> NothingDraft | None:
        if not names:
            return NothingDraft("", "no node here takes questions or orders")
        if request.node and request.node not in self._nodes:
            return NothingDraft(
                request.node, f"there is no node {request.node}; there are {', '.join(self._asked)}"
            )
        if request.node and request.node not in self._asked:
            return NothingDraft(request.node, f"{request.node} takes no questions and no orders")
        if not words_of(request.text) or not is_readable(request.text):
            return NothingDraft(request.node, "nothing was said in words", code="not_understood")
        return None

    def _by_template(
        self, request: Request, said: str, names: tuple[str, ...], *, able: bool = True
    ) -> CommandDraft | NothingDraft | None:
        """Return the one command whose template the words are a whole example of, if there is one.

        Args:
            request: The request.
            said: What was said.
            names: The nodes that are asked.
            able: Whether a device that is called otherwise than its argument must have what is to be changed.
        """
        devices = {name: self._twin.devices(name) for name in names}
        found = self._templates.matches(said, devices=devices)
        # A free text could swallow a question whole; only the template's own words make an order of one.
        if is_question(without_courtesy(said)):
            found = [match for match in found if not match.free]
        if able:
            found = [match for match in found if not match.misfits or self._is_able(match)]
        if not found:
            return None
        if len(found) > 1:
            calls = " or ".join(call_in_words(match.command, match.arguments) for match in found)
            return NothingDraft(request.node, f"did you mean {calls}?", code="ask_back")
        return self._asked_back(request, self._completed(found[0], devices[found[0].node], request))

    def _asked_back(
        self, request: Request, draft: CommandDraft | NothingDraft | None
    ) -> CommandDraft | NothingDraft | None:
        """Return a draft, or what to ask back where the words of an order end as a question does."""
        if not isinstance(draft, CommandDraft) or not is_asked(request.text):
            return draft
        call = call_in_words(draft.name, draft.arguments)
        reason = f"did you mean {call}? if it is an order, say it without the question mark"
        return NothingDraft(draft.node, reason, code="ask_back")

    def _is_able(self, match: Match) -> bool:
        """Return whether a device of a match tells the value that the command changes."""
        expect = self._nodes[match.node].spec.commands[match.command].expect
        devices = [device for phrase in match.named.values() for device in phrase.values]
        return expect is None or any(expect.field in self._fields(match.node, device) for device in devices)

    def _doubtful(self, request: Request, names: tuple[str, ...]) -> NothingDraft | None:
        """Return why words that no template knows are no order, where that can be told without a model."""
        devices = {name: self._twin.devices(name) for name in names}
        for words in quoted(request.text):
            found = self._templates.matches(clean(words), devices=devices)
            if found and not found[0].free:
                call = call_in_words(found[0].command, found[0].arguments)
                reason = f"did you mean {call}? it stands in quotation marks; if it is an order, say it without"
                return NothingDraft(found[0].node, reason, code="ask_back")
        if is_question(request.text) or is_statement(request.text):
            return None
        if len(words_of(request.text)) > LONGEST_ORDER:
            reason = "that is too long for an order; say in one sentence what is to be done"
            return NothingDraft(request.node, reason, code="ask_back")
        number = impossible_number(request.text)
        if number:
            reason = f"{number} is no number that a machine can be set to"
            return NothingDraft(request.node, reason, code="ask_back")
        return None

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
                if len(meant) > 1:
                    question = ask_for_argument(name, argument, devices=meant)
                    return NothingDraft(match.node, question, code="ask_back")
                value = meant[0]
            if value is None and argument.optional:
                continue
            if value is None:
                question = ask_for_argument(name, argument, devices=devices)
                return NothingDraft(match.node, question, code="ask_back")
            arguments[name] = value
        return CommandDraft(match.node, match.command, arguments, Origin.TEMPLATE)

    def _meant(self, match: Match, phrase: Phrase, request: Request) -> tuple[str, ...]:
        """Return which of the devices that a phrase names are meant: those that can do it, where it was said."""
        expect = self._nodes[match.node].spec.commands[match.command].expect
        field = expect.field if expect else ""
        able = tuple(device for device in phrase.values if field in self._fields(match.node, device))
        left: tuple[str, ...] = (able or phrase.values) if field else phrase.values
        if phrase.grade is Grade.PART:
            phrases = self._templates.phrases(match.node, self._twin.devices(match.node))
            for place in request.context.values():
                left = phrases.within(place, left) or left
        return left

    def _fields(self, node: str, device: str) -> Mapping[str, Any]:
        state = self._twin.state(node, device)
        return state.fields if state is not None else {}

    def _wants_device(self, node: str, command: str) -> bool:
        arguments = self._nodes[node].spec.commands[command].args.values()
        return any(argument.device for argument in arguments)

    def _by_nearest(self, request: Request, names: tuple[str, ...]) -> NothingDraft | Open:
        near = self._nearest.find(request.text, nodes=names)
        if not near or near[0][1] < _NEAR:
            return Open(request.node, question=True)
        node = near[0][0].node
        doubt = reservation(request.text)
        if doubt:
            reason = f"with {doubt!r} in it this is no plain order; say only what is to be done now"
            return NothingDraft(node, reason, code="ask_back")
        own = [example for example, _ in near if example.node == node]
        commands = tuple(dict.fromkeys(example.command for example in own))[:_COMMANDS_SHOWN]
        device = next(iter(self._twin.devices(node)), "")
        if not device and all(self._wants_device(node, command) for command in commands):
            reason = f"{node} has not heard from any device yet; say it again once one has reported"
            return NothingDraft(node, reason, code="no_device")
        shown = [example for example in own if example.arguments and example.command in commands]
        return Open(
            node,
            question=False,
            commands=commands,
            examples=tuple(example.with_device(device) for example in shown[:_EXAMPLES_SHOWN]),
        )

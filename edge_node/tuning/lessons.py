"""Cases as the language model reads them: the prompt of the runtime, and the answer that is right.

Knows the drafting of the runtime, its tokens and its grammar; knows nothing of where cases come from or of
how a model is trained. Lessons with the same beginning are packed behind it, so that it is read once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_node.messages import Open, Request, RequestKind
from edge_node.understand.calls import call_text, read_call
from edge_node.understand.grounding import unsaid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_node.config.loaded import SpokenExample
    from edge_node.messages import Turn
    from edge_node.model.tokens import Tokenizer
    from edge_node.understand.drafting import Laid, ModelDrafting

_SHORTEST_SHARED = 8
_OPENING = '{"command":"'
_DECIDING, _NAMING, _FILLING = 1.0, 0.4, 0.2


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and its right answer, in tokens.

    Attributes:
        prompt: What is read.
        answer: What is to be written, with the token that ends it.
        weights: How much each token of the answer counts.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """Lessons that begin alike.

    Attributes:
        beginning: Tokens that all prompts begin with.
        lessons: The lessons; their prompts are whole.
    """

    beginning: tuple[int, ...]
    lessons: tuple[Lesson, ...]

    @property
    def length(self) -> int:
        """Tokens that are read for all of them."""
        begun = len(self.beginning)
        return begun + sum(len(one.prompt) - begun + len(one.answer) for one in self.lessons)


def lay_case(case: SpokenExample, drafting: ModelDrafting, *, matter: Open) -> Laid | None:
    """Return what the runtime puts before the model for a sentence, or None where it does not ask it."""
    request = Request(
        "lesson", RequestKind.ASK, "", 0.0, text=case.utterance, user="tuning", context=case.context
    )
    return drafting.lay(request, matter)


def answer_of(case: SpokenExample, laid: Laid) -> str:
    """Return the JSON that is right for a sentence, in the order in which the grammar wants arguments."""
    if not case.command:
        return call_text("", {})
    command = laid.node.spec.commands[case.command]
    arguments = {name: case.arguments[name] for name in command.args if name in case.arguments}
    return call_text(case.command, arguments)


def is_teachable(case: SpokenExample, laid: Laid) -> bool:
    """Return whether every part of the right answer of a sentence was said.

    What a person said in a way that cannot be traced to the words is asked back whatever the model writes;
    to train on it would teach to invent.
    """
    if not case.command:
        return True
    call = read_call(answer_of(case, laid))
    if call is None or case.command not in laid.names:
        return False
    command = laid.node.spec.commands[case.command]
    return not unsaid(laid.ground, name=case.command, command=command, arguments=call[1])


def lesson_of(turns: Sequence[Turn], answer: str, *, tokenizer: Tokenizer) -> Lesson:
    """Return prompt and answer in the tokens of the runtime.

    The token that tells a command from none counts most, and as much in a short answer as in a long one; what
    the grammar forces counts nothing.
    """
    written = (*tokenizer.encode(answer), tokenizer.eos[0])
    opening = len(tokenizer.encode(_OPENING))
    name = json.loads(answer)["command"]
    named = len(tokenizer.encode(f"{_OPENING}{name}"))
    weights = [0.0] * opening + [_DECIDING] + [_NAMING] * (named - opening - 1)
    weights += [_FILLING] * (len(written) - len(weights))
    return Lesson(tuple(tokenizer.prompt(turns)), written, tuple(weights[: len(written)]))


def packed(lessons: Iterable[tuple[str, Lesson]], *, most_tokens: int, most_lessons: int) -> list[Pack]:
    """Return packs of lessons; those of one key begin alike, and stay in their order.

    Args:
        lessons: Key and lesson.
        most_tokens: Tokens of a pack, but for one lesson that is longer alone.
        most_lessons: Lessons of a pack.
    """
    groups: dict[str, list[Lesson]] = {}
    for key, lesson in lessons:
        groups.setdefault(key, []).append(lesson)
    packs = []
    for group in groups.values():
        beginning = _shared([lesson.prompt for lesson in group])
        current: list[Lesson] = []
        length = len(beginning)
        for lesson in group:
            more = len(lesson.prompt) - len(beginning) + len(lesson.answer)
            if current and (length + more > most_tokens or len(current) == most_lessons):
                packs.append(Pack(beginning, tuple(current)))
                current, length = [], len(beginning)
            current.append(lesson)
            length += more
        packs.append(Pack(beginning, tuple(current)))
    return packs


def _shared(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what all prompts begin with; the last token of a prompt is never shared."""
    shortest = min(len(prompt) for prompt in prompts) - 1
    first = prompts[0]
    length = next(
        (at for at in range(shortest) if any(prompt[at] != first[at] for prompt in prompts)), shortest
    )
    return first[:length] if length >= _SHORTEST_SHARED else ()

"""Chat templates: Jinja source from a model's file, compiled so that it can neither harm nor run on.

The only place that knows `jinja2`. Knows nothing of tokens; what stands in a chat is the caller's.

A model's file comes from strangers. The sandbox keeps a template from the interpreter; what is added here
bounds what it may cost: each turn of a loop or macro is counted, and no text or list in it grows large.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import Template, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edge_node.errors import ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_LONGEST_SOURCE = 200_000
_MOST_TURNS = 20_000
_LARGEST = 1_000_000
_LONGEST_RANGE = 10_000
_MOST_BITS = 4096
_FAULTS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)
_FILTERS = frozenset(
    {
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "e",
        "escape",
        "first",
        "float",
        "int",
        "items",
    }
    | {"last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round"}
    | {"safe", "select", "selectattr", "sort", "title", "trim", "unique", "upper"}
)
_METHODS = frozenset(
    {"capitalize", "endswith", "find", "get", "index", "isdigit", "items", "keys", "lower", "lstrip"}
    | {"removeprefix", "removesuffix", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip"}
    | {"title", "upper", "values"}
)
_turns: ContextVar[list[int]] = ContextVar("turns")


class ChatTemplate:
    """How a model was trained to read a chat."""

    def __init__(self, source: str, *, of: Path) -> None:
        """Compile a template.

        Args:
            source: Jinja source.
            of: The file it comes from, for errors.

        Raises:
            ModelUnsupported: It is missing, too long, or does not compile.
        """
        if not source:
            raise ModelUnsupported(of, expected="a model with a chat template", came="none")
        if len(source) > _LONGEST_SOURCE:
            expected = f"a chat template of at most {_LONGEST_SOURCE} characters"
            raise ModelUnsupported(of, expected=expected, came=str(len(source)))
        try:
            self._template = _compiled(source)
        except (*_FAULTS, SyntaxError) as error:
            raise ModelUnsupported(of, expected="a chat template that compiles", came=_said(error)) from error

    def render(self, messages: Sequence[Mapping[str, str]], *, bos: str, eos: str) -> str:
        """Return a chat as text, up to where the assistant's answer begins.

        Args:
            messages: Each with `role` and `content`.
            bos: Text of the token that opens a text.
            eos: Text of the token that ends an answer.

        Raises:
            ModelUnsupported: The template refuses these turns, fails on them, or runs on and on.
        """
        token = _turns.set([0])
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=True,
                enable_thinking=False,  # reasoning before the answer is no sentence of any grammar
                bos_token=bos,
                eos_token=eos,
            )
        except _FAULTS as error:
            raise ModelUnsupported("chat template", expected="these turns", came=_said(error)) from error
        finally:
            _turns.reset(token)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which nothing grows large."""

    intercepted_binops: ClassVar[frozenset[str]] = frozenset(["+", "*", "**", "%"])  # type: ignore[misc]

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Return the parts of an output as one text."""
        return _concatenated(*parts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Return what an operator makes of two values."""
        numbers = all(isinstance(side, int | float) for side in (left, right))
        if operator != "+" and not numbers:
            raise SecurityError(f"{operator} of what is no number")
        if operator == "**" and abs(right) * left.bit_length() > _MOST_BITS:
            raise SecurityError("a power that large")
        return _short(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> None:
        """Return nothing: a layout as in `{:999999}` makes any text long."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may have an attribute."""
        if callable(value) and isinstance(obj, str | bytes | list | tuple | dict):
            return attr in _METHODS
        return super().is_safe_attribute(obj, attr, value)


def _compiled(source: str) -> Template:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"], finalize=_printed
    )
    kept = {name: environment.filters[name] for name in _FILTERS}
    environment.filters = {**kept, "tojson": _as_json, "join": _joined, "replace": _replaced, "string": _text}
    environment.globals = {
        "namespace": environment.globals["namespace"],
        "range": _range,
        "raise_exception": _refuse,
        _COUNT: _counted,
        _JOIN: _concatenated,
    }
    tree = environment.parse(source)
    for found in tree.find_all(nodes.Stmt):
        if isinstance(found, nodes.For | nodes.Macro | nodes.CallBlock):
            found.body.insert(0, _count_at(found))
    _bound_concatenation(tree)
    tree.set_environment(environment)
    return Template.from_code(environment, environment.compile(tree), environment.make_globals(None))


_COUNT, _JOIN = "edge_node_count", "edge_node_join"


def _count_at(place: nodes.Node) -> nodes.Node:
    call = nodes.Call(nodes.Name(_COUNT, "load"), [], [], None, None)
    return nodes.Output([call]).set_lineno(place.lineno, override=True)


def _bound_concatenation(parent: nodes.Node) -> None:
    """Put a call that looks at sizes in the place of every `~`."""
    for field, value in parent.iter_fields():
        if isinstance(value, list):
            for place, each in enumerate(value):
                if isinstance(each, nodes.Node):
                    _bound_concatenation(each)
                    value[place] = _bounded(each)
        elif isinstance(value, nodes.Node):
            _bound_concatenation(value)
            setattr(parent, field, _bounded(value))


def _bounded(each: nodes.Node) -> nodes.Node:
    if not isinstance(each, nodes.Concat):
        return each
    call = nodes.Call(nodes.Name(_JOIN, "load"), each.nodes, [], None, None)
    return call.set_lineno(each.lineno, override=True)


def _printed(value: Any) -> Any:
    return value if isinstance(value, Undefined) else _text(value)


def _counted() -> str:
    spent = _turns.get()
    spent[0] += 1
    if spent[0] > _MOST_TURNS:
        raise SecurityError(f"more than {_MOST_TURNS} turns of loops")
    return ""


def _range(*bounds: int) -> range:
    if len(found := range(*bounds)) > _LONGEST_RANGE:
        raise SecurityError(f"a range of more than {_LONGEST_RANGE}")
    return found


def _short(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise SecurityError("a number that large")
    if hasattr(value, "__len__") and len(value) > _LARGEST:
        raise SecurityError(f"a text of more than {_LARGEST} characters")
    return value


def _concatenated(*parts: Any) -> str:
    texts = [_text(part) for part in parts]
    if sum(map(len, texts)) > _LARGEST:
        raise SecurityError(f"a text of more than {_LARGEST} characters")
    return "".join(texts)


def _text(value: Any) -> str:
    """Return a value as text; a list or mapping may hold itself many times over, and is refused."""
    if isinstance(value, list | tuple | dict):
        raise SecurityError("a list as text")
    return str(value)


def _joined(values: Any, between: str = "", attribute: str | None = None) -> str:
    parts = [_text(value if attribute is None else value[attribute]) for value in values]
    if sum(map(len, parts)) + len(between) * len(parts) > _LARGEST:
        raise SecurityError("a text that long")
    return between.join(parts)


def _replaced(text: Any, old: str, new: str, count: int = -1) -> str:
    words = _text(text)
    if words.count(old) * len(new) + len(words) > _LARGEST:
        raise SecurityError("a text that long")
    return words.replace(old, new, count)


def _as_json(value: Any, *, indent: int | None = None, ensure_ascii: bool = False) -> str:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    if any(isinstance(each, list | tuple | dict) for each in inner):
        raise SecurityError("lists within lists as JSON")
    return str(json.dumps(value, indent=indent, ensure_ascii=ensure_ascii))


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _said(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

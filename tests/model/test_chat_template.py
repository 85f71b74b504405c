"""What a chat template may do, and what it may not cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_node.errors import ModelUnsupported
from edge_node.model.chat_template import ChatTemplate

SOURCE = Path("model.gguf")
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Stop."}]


def rendered(template: str) -> str:
    return ChatTemplate(template, of=SOURCE).render(CHAT, bos="<s>", eos="</s>")


def test_what_templates_in_the_wild_use_works() -> None:
    template = (
        "{{- bos_token }}{%- set ns = namespace(last='') %}"
        "{%- macro line(m) %}{{ '[' ~ m.role|upper ~ '] ' + m['content'].strip() }}{%- endmacro %}"
        "{%- for m in messages[::-1] if m.content is string %}"
        "{%- if loop.index0 > 5 %}{%- break %}{%- endif %}{%- set ns.last = m.role %}{{ line(m) }};"
        "{%- endfor %}{{- ns.last|tojson }}{%- if not tools %}{{- '.' }}{%- endif %}"
        "{%- if enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think></think>' }}{%- endif %}"
    )
    assert rendered(template) == '<s>[USER] Stop.;[SYSTEM] Be brief.;"system".<think></think>'


LOOPS = [
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{% for a in range(10 ** 9) %}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
]
GROWTH = "{{% set ns = namespace(s='ab') %}}{{% for i in range(99) %}}{}{{% endfor %}}"
GROWING = [
    "{{ 'a' * 10 ** 9 }}",
    "{{ [1] * 10 ** 9 }}",
    "{{ 9 ** 9 ** 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' % 3 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a'.center(10 ** 9) }}",
    "{{ 'a'|center(10 ** 9) }}",
    GROWTH.format("{% set ns.s = ns.s ~ ns.s %}"),
    GROWTH.format("{% set ns.s = ns.s + ns.s %}"),
    GROWTH.format("{% set ns.s = ns.s|replace('', 'abc') %}"),
    GROWTH.format("{% set ns.s = [ns.s, ns.s]|join %}"),
    GROWTH.format("{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}"),
    GROWTH.format("{% set ns.s = [ns.s, ns.s] %}") + "{{ ns.s }}",
    GROWTH.format("{% set ns.s = [ns.s, ns.s] %}") + "{{ ns.s|tojson }}",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("template", [*LOOPS, *GROWING])
def test_a_template_that_runs_on_or_grows_is_refused(template: str) -> None:
    with pytest.raises(ModelUnsupported, match="chat template"):
        rendered(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for",
        "{{ messages | nothing_such }}",
        "{% include 'other' %}",
        "{% import 'x' as x %}",
        "x" * 300_000,
        "",
    ],
)
def test_a_template_that_does_not_compile_is_refused(template: str) -> None:
    with pytest.raises(ModelUnsupported, match=r"chat template|loader"):
        rendered(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append }}{{ messages.append(1) }}",
        "{{ raise_exception('no system turn') }}",
        "{{ messages[7].content }}",
        "{{ 1 / 0 }}",
        "{{ range.__globals__.clear() }}",
    ],
)
def test_a_template_that_reaches_out_or_fails_is_refused(template: str) -> None:
    with pytest.raises(ModelUnsupported, match="chat template"):
        rendered(template)

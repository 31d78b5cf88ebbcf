from __future__ import annotations

import re

import pytest

from compiler.errors import InputError
from compiler.runtime.chat import ChatTemplate

MESSAGES = [{"role": "user", "content": "Hi <there> é"}, {"role": "assistant", "content": "Hello"}]


def render(source: str) -> str:
    return ChatTemplate(source, {"bos": "<s>", "eos": "</s>"})(MESSAGES)


def test_messages_tokens_and_the_generation_prompt() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}\n    {% if loop.first %}{{ m.role }}: {{ m['content'] }}{{ eos_token }}"
        "{% else %}{% break %}{% endif %}\n{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    assert render(source) == "<s>user: Hi <there> é</s>>"


def test_helpers() -> None:
    assert render("{{ messages[0] | tojson }}") == '{"role": "user", "content": "Hi <there> é"}'
    assert re.fullmatch(r"\d{4}-\d\d", render("{{ strftime_now('%Y-%m') }}"))
    assert render("{% generation %}{{ messages[1].content }}{% endgeneration %}!") == "Hello!"


def test_a_template_can_refuse() -> None:
    with pytest.raises(InputError, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append({}) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{% for x in %}",
        "{{ undefined_thing.attribute }}",
        "{{ 1 + 'a' }}",
    ],
)
def test_a_template_that_reaches_out_or_is_broken_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="chat template"):
        render(source)


@pytest.mark.parametrize("message", [{"role": "user"}, {"content": "x"}, {"role": "user", "content": None}, "text"])
def test_a_malformed_message_is_named(message: object) -> None:
    with pytest.raises(InputError, match="chat message 1"):
        ChatTemplate("", {})([MESSAGES[0], message])  # type: ignore[list-item]

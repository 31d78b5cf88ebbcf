from __future__ import annotations

import re
from typing import Any

import pytest

from compiler.errors import InputError
from compiler.runtime.chat import ChatTemplate, Shown

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


def theirs(source: str | dict[str, str], messages: Any = MESSAGES, **shown: Any) -> str:
    """What transformers renders, with the same special tokens."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1}, unk_token="<s>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = source
    if "template" in shown:
        shown["chat_template"] = shown.pop("template")
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **shown))


TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"b": 1, "a": [True, None, 0.5]}}}]
DOCUMENTS = [{"title": "é", "text": "<x>"}]


@pytest.mark.parametrize(
    "source",
    [
        "{% if tools is none %}none{% endif %}{% if documents is none %}none{% endif %}",
        "{% if tools is defined %}{{ tools }}{% endif %}{% if documents is defined %}{{ documents }}{% endif %}",
        "{{ unk_token is defined }}{{ pad_token is defined }}{{ sep_token is defined }}{{ bos_token }}{{ eos_token }}",
        "{{ messages | tojson(ensure_ascii=True) }}{{ messages | tojson(indent=2) }}",
        "{{ tools | tojson(separators=(',', ':'), sort_keys=True) }}{{ tools | tojson(True, 1, (',', ':'), True) }}",
        "{% set n = namespace(x=0, self=2) %}{% for m in messages %}{% set n.x = 3 %}{% endfor %}{{ n.x }}{{ n.self }}",
        "{{ dict(a=1, **{'b': 2}) }}{{ dict.fromkeys(['a', 'b'], 3) }}{{ dict([('c', 4)]) }}",
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{{ messages[1].content }}{% endgeneration %}{{ x }}",
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{% continue %}{% endfor %}.",
        "{{ messages[0] is mapping }}{{ messages[0].get('name') }}{{ messages[0].x is defined }}",
        "{{ strftime_now('%Z|%z|%H') | length < 5 }}",
        "{%- for m in messages -%}\n    {{ m.role }}\n{%- endfor %}\n\n",
    ],
)
def test_a_template_finds_what_it_finds_in_transformers(source: str) -> None:
    ours = ChatTemplate(source, {"bos": "<s>", "eos": "</s>", "unk": "", "pad": ""})
    assert ours(MESSAGES) == theirs(source)
    assert ours(MESSAGES, Shown(tools=TOOLS, documents=DOCUMENTS)) == theirs(source, tools=TOOLS, documents=DOCUMENTS)


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_have_every_name(key: str) -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": "4", key: "2 + 2", "tool_calls": None}]
    source = "{{ messages[-1] | tojson(sort_keys=true) }}"
    assert ChatTemplate(source, {})(messages) == theirs(source, messages)


NAMED = {"default": "plain", "tool_use": "with tools", "rag": "with documents"}


@pytest.mark.parametrize("shown", [{}, {"tools": TOOLS}, {"tools": []}, {"documents": DOCUMENTS}, {"template": "rag"}])
def test_one_of_several_templates(shown: dict[str, Any]) -> None:
    assert ChatTemplate(NAMED, {})(MESSAGES, Shown(**shown)) == theirs(NAMED, **shown)


@pytest.mark.parametrize(
    ("named", "template"), [({"rag": "x"}, None), (NAMED, "rags"), ("one", "tool_use"), (NAMED, 5)]
)
def test_a_template_that_is_not_there_is_named(named: Any, template: Any) -> None:
    with pytest.raises(
        InputError, match=r"no chat template(.|\n)*" + sorted(named if len(named) < 3 else ["default"])[0]
    ):
        ChatTemplate(named, {})(MESSAGES, Shown(template=template))


def test_a_message_that_calls_a_tool_need_not_say_anything() -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": TOOLS}]
    assert ChatTemplate("{{ messages[-1].content is defined }}", {})(messages) == "False"


class Dangerous(str):
    def remove(self) -> str:
        raise AssertionError("a template called a method of the caller's")


@pytest.mark.parametrize("source", ["{{ messages[0].content.remove() }}", "{{ messages[0].remove() }}"])
def test_a_template_sees_plain_data_only(source: str) -> None:
    with pytest.raises(InputError, match="has no attribute"):
        ChatTemplate(source, {})([{"role": "user", "content": Dangerous("x")}])


@pytest.mark.parametrize(
    ("messages", "shown", "words"),
    [
        ([], {}, "conversation is empty"),
        ([{"role": "user", "content": "x", "image": object()}], {}, "chat message 0\n.*object"),
        (MESSAGES, {"tools": "add"}, "tools\n"),
        (MESSAGES, {"tools": [{}, print]}, "tools: item 1\n.*builtin_function_or_method\n.*or Python functions"),
        (MESSAGES, {"tools": [[{}]]}, "tools: item 0\n.*list\n.*a list of JSON objects"),
        (MESSAGES, {"documents": [lambda: None]}, "documents: item 0\n.*function\n.*JSON objects$"),
        (MESSAGES, {"documents": [{"text": {1, 2}}]}, "documents\n.*set"),
    ],
)
def test_what_no_template_can_be_shown(messages: Any, shown: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ChatTemplate("", {})(messages, Shown(**shown))


def test_what_is_nested_too_deep_is_refused() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InputError, match="nested too deep"):
        ChatTemplate("", {})([{"role": "user", "content": "x", "more": deep}])


def test_a_namespace_takes_no_names_of_python() -> None:
    with pytest.raises(InputError, match="underscore"):
        render("{% set n = namespace(__init__=1) %}")


@pytest.mark.parametrize(
    ("source", "absent", "action"),
    [
        ("{% for d in documents %}{{ d }}{% endfor %}", "documents", "give documents=[...]"),
        ("{% if tools %}x{% endif %}\n{% for d in documents %}{% endfor %}", "documents", "give documents=[...]"),
        ("{{ documents | length }}\n{{ tools | length }}", "documents", "give documents=[...]"),
        ("{{ tools[0].name ~ documents[0].name }}", "documents and tools", "give documents=[...] and tools=[...]"),
        ("{% set given = tools %}\n{% for d in given %}{% endfor %}", "tools", "give tools=[...]"),
        ("{{ persona.name }}{{ raise_exception }}", "persona", "write the prompt as text"),
    ],
)
def test_a_template_that_lacks_a_variable_says_which(source: str, absent: str, action: str) -> None:
    with pytest.raises(InputError, match="refuses these messages") as caught:
        render(source)
    assert f"nothing was given for {absent}" in caught.value.found
    assert action in caught.value.action
    if absent in Shown._fields and "tools | " not in source:
        ChatTemplate(source, {})(MESSAGES, Shown(**{absent: [{"name": "x"}]}))


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('Only None may be said') }}{{ tools }}",
        "{{ messages[0].lacking.attribute }}\n{{ documents }}",
        "{{ 1 + 'a' }}{{ documents }}",
        "{% for i in range(10 ** 9) %}{% endfor %}{{ documents }}",
    ],
)
def test_other_failures_have_no_such_advice(source: str) -> None:
    with pytest.raises(InputError, match="chat template") as caught:
        render(source)
    assert caught.value.action == ""


def test_a_python_function_is_shown_as_transformers_shows_it() -> None:
    def add(first: int, second: int = 0) -> int:
        """Add two numbers.

        Args:
            first: one
            second: the other (choices: [1, 2])

        Returns:
            their sum
        """
        return first + second

    source = "{{ tools | tojson }}"
    assert ChatTemplate(source, {})(MESSAGES, Shown(tools=[add, *TOOLS])) == theirs(source, tools=[add, *TOOLS])

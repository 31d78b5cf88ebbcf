"""Chat messages to a prompt, with the checkpoint's own Jinja templates.

A template finds what it finds in transformers: the same variables, filters, functions and tags, and plain data only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.utils import Namespace

from compiler.errors import InputError
from compiler.runtime.bounded import BoundedEnvironment, narrow
from compiler.runtime.functions import is_function, schema_of
from compiler.runtime.lacking import lacking

Message = Mapping[str, Any]
Tool = Mapping[str, Any] | Callable[..., Any]

DEFAULT, WITH_TOOLS = "default", "tool_use"  # names that transformers gives a meaning to
DEEPEST = 100  # levels of nesting in what a template is shown
REASONING = ("reasoning_content", "thinking", "reasoning")  # names under which a message has the thoughts before it


class Shown(NamedTuple):
    """What a template is shown beside the messages, and which of a checkpoint's templates it is.

    Attributes:
        template: its name; None is "tool_use" where there are tools and such a template, otherwise "default".
        tools: functions that the model may call, as JSON schemas or as Python functions that are described.
        documents: texts to answer from, such as {"title": ..., "text": ...}.
    """

    template: str | None = None
    tools: Sequence[Tool] | None = None
    documents: Sequence[Mapping[str, Any]] | None = None


class ChatTemplate:
    """A checkpoint's templates. They run in a sandbox that can read what they are shown and change nothing.

    Args:
        sources: one template, or several by name.
        special: special tokens by name ("bos": "<s>"); "" is one that the tokenizer does not have.
    """

    def __init__(self, sources: str | Mapping[str, str], special: Mapping[str, str]) -> None:
        self._sources = {DEFAULT: sources} if isinstance(sources, str) else dict(sources)
        self._tokens = {f"{name}_token": token for name, token in special.items() if token}
        self._compiled: dict[str, Callable[..., str]] = {}

    def __call__(self, messages: Sequence[Message], shown: Shown | None = None) -> str:
        """The prompt that asks for the assistant's next message.

        Raises:
            InputError: a message lacks its role or content, there is no such template, or it refuses the conversation.
        """
        shown = shown or Shown()
        name = self._choose(shown)
        told = [_told(index, message) for index, message in enumerate(messages)]
        if not told:
            raise InputError("the conversation is empty", expected="at least one message")
        tools, documents = _objects("tools", shown.tools), _objects("documents", shown.documents)
        return self.render(told, {"tools": tools, "documents": documents, "add_generation_prompt": True}, name)

    def render(self, messages: Sequence[Message], variables: Mapping[str, Any], name: str = DEFAULT) -> str:
        """What a template makes of plain data. Raises InputError: there is none of this name, or it fails."""
        given = {"messages": messages, **self._tokens, **variables}
        try:
            if name not in self._compiled:
                self._compiled[name] = _environment().bounded(self._sources[name])
            return self._compiled[name](**given)
        except Exception as error:  # a template is a program: it can fail in any way
            raise _failed(error, lacking(_environment(), self._sources.get(name, ""), error, given)) from error

    def _choose(self, shown: Shown) -> str:
        if shown.template is not None:
            name = shown.template
        else:
            name = WITH_TOOLS if shown.tools is not None and WITH_TOOLS in self._sources else DEFAULT
        if not isinstance(name, str) or name not in self._sources:
            raise InputError(
                f'this model has no chat template "{name}"',
                found=", ".join(sorted(self._sources)),
                action="choose one of these with template=",
            )
        return name


def _failed(error: Exception, absent: Sequence[str]) -> InputError:
    """`absent` are the variables that it seems to have failed for."""
    subject = "the model's chat template refuses these messages"
    if not absent:
        return InputError(subject, found=str(error))
    givable = " and ".join(f"{name}=[...]" for name in absent if name in Shown._fields)
    return InputError(
        subject,
        found=f"{error}; nothing was given for {' and '.join(absent)}",
        expected="what the template reads",
        action=f"give {givable}" if givable else "write the prompt as text: a template can be given nothing else here",
    )


def _told(index: int, message: Any) -> dict[str, Any]:
    """A message as templates see it: plain data, without keys whose value is None."""
    expected = '{"role": "user", "content": "..."}'
    if not isinstance(message, Mapping):
        raise InputError(f"chat message {index}", found=repr(message), expected=expected)
    said: dict[str, Any] = _plain(
        {key: value for key, value in message.items() if value is not None}, f"chat message {index}"
    )
    # A message that calls tools need not say anything.
    content = said.get("content", "" if said.get("tool_calls") else None)
    if not isinstance(said.get("role"), str) or not isinstance(content, str):
        raise InputError(f"chat message {index}", found=repr(message), expected=expected)
    thought = next((said[name] for name in REASONING if name in said), None)
    return said if thought is None else {"thinking": thought, **said, "reasoning_content": thought}


def _objects(name: str, given: Any) -> list[dict[str, Any]] | None:
    if given is None:
        return None
    expected = "a list of JSON objects" + (" or Python functions" if name == "tools" else "")
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputError(name, found=type(given).__name__, expected=expected)
    made = [schema_of(one) if name == "tools" and is_function(one) else one for one in given]
    for index, one in enumerate(made):
        if not isinstance(one, Mapping):
            raise InputError(f"{name}: item {index}", found=type(one).__name__, expected=expected)
    return [_plain(one, name) for one in made]


def _plain(value: Any, name: str, levels: int = DEEPEST) -> Any:
    """A copy in JSON's own types: nothing else has methods that the sandbox could know to be harmless."""
    if not levels:
        raise InputError(f"{name} is nested too deep", found=f"over {DEEPEST} levels")
    match value:
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case Mapping():
            return {_plain(key, name, levels - 1): _plain(each, name, levels - 1) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each, name, levels - 1) for each in value]
    raise InputError(name, found=f"a value of type {type(value).__name__}", expected="what JSON can hold")


def _environment() -> BoundedEnvironment:
    environment = BoundedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    environment.filters["tojson"] = narrow("tojson", _tojson)
    environment.globals |= {
        "raise_exception": _refuse,
        "strftime_now": _strftime_now,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}` marks the assistant's words for training: plain text here.

    It is a block of its own, so that variables set in it are not seen behind it.
    """

    tags = {"generation"}  # noqa: RUF012  (Jinja's own declaration)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict(...)` and `dict.fromkeys(...)`, and nothing else of the class."""

    def __call__(self, *pairs: Any, **named: Any) -> dict[Any, Any]:
        return dict(*pairs, **named)

    def fromkeys(self, keys: Any, value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


class _Namespace(Namespace):
    """Jinja's, without names that begin with an underscore."""

    def __init__(*args: Any, **named: Any) -> None:  # so that `self` may be a name too
        own, *pairs = args
        values = dict(*pairs, **named)
        for name in values:
            _require_open(name)
        Namespace.__init__(own, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_open(name)
        super().__setitem__(name, value)


def _require_open(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no name with an underscore in front: {name}")


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().replace(tzinfo=None).strftime(pattern)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as a model saw it in training: no HTML escapes, unlike Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

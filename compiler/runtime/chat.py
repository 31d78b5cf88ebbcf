"""Chat messages to a prompt, with the checkpoint's own Jinja template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from compiler.errors import InputError

Message = Mapping[str, str]


class ChatTemplate:
    """A template from a checkpoint. It runs in a sandbox that can read the messages and change nothing."""

    def __init__(self, source: str, special: Mapping[str, str]) -> None:
        self._source = source
        self._tokens = {f"{name}_token": token for name, token in special.items()}

    def __call__(self, messages: Sequence[Message]) -> str:
        """The prompt that asks for the assistant's next message.

        Raises:
            InputError: a message lacks its role or content, or the template refuses the conversation.
        """
        for index, message in enumerate(messages):
            if not isinstance(message, Mapping) or not all(
                isinstance(message.get(k), str) for k in ("role", "content")
            ):
                raise InputError(
                    f"chat message {index}", found=repr(message), expected='{"role": "user", "content": "..."}'
                )
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=True, **self._tokens)
        except Exception as error:  # a template is a program: it can fail in any way
            raise InputError("the model's chat template refuses these messages", found=str(error)) from error

    @cached_property
    def _template(self) -> Template:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _tojson
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _strftime_now}
        return environment.from_string(self._source)


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}` marks the assistant's words for training: plain text here."""

    tags = {"generation"}  # noqa: RUF012  (Jinja's own declaration)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


def _tojson(value: Any, indent: int | None = None) -> str:
    """JSON as a model saw it in training: no HTML escapes, unlike Jinja's own filter."""
    return json.dumps(value, ensure_ascii=False, indent=indent)

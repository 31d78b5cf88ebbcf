"""What a build is asked for: one record for the command line, the Python API and files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from compiler.errors import UsageError, did_you_mean
from compiler.reading import foreign
from compiler.records import Record


class ModelRequest(Record, frozen=True):
    """A checkpoint, and what of it.

    Attributes:
        model: a hub id, a folder or a `.gguf` file.
        task: a key of `tasks.TASKS`; None infers it.
        revision: of a hub id.
        adapters: PEFT adapters, each PATH (a folder or a hub id) or NAME=PATH. A single PATH is compiled in; several,
            or named ones, are LoRA kept apart in the bundle, to be chosen by name in each request.
        adapter_base: the name by which the adapters know this model, where it is stored under another.
        allow_pickle: read pickle weights, which can run code.
    """

    model: str
    task: str | None = None
    revision: str | None = None
    adapters: tuple[str, ...] = ()
    adapter_base: str | None = None
    allow_pickle: bool = False


class BuildRequest(ModelRequest, frozen=True):
    """All that decides a bundle.

    Attributes:
        profile: a shipped profile's name, a TOML file, or "auto" for this machine's.
        precision: one that the profile offers; None is its default.
        context: tokens of the longest text that is checked and promised; None is what is checked in minutes.
        budget: limits that replace the profile's, by the names of `records.Budget`.
        targets: compute capabilities to build plans for, as in "sm89"; none means the profile's.
        traffic: a file with the length of every request that was recorded, from which the plans' shapes are made.
        strict: fail on a pass that changes answers, rather than go on without it.
        bench: measure speed and memory beside PyTorch.
    """

    profile: str = "auto"
    precision: str | None = None
    context: int | None = None
    budget: dict[str, float] = msgspec.field(default_factory=dict)
    targets: tuple[str, ...] = ()
    traffic: str | None = None
    strict: bool = False
    bench: bool = True

    def __post_init__(self) -> None:
        if self.budget:
            from compiler.validation import budgets

            budgets.known(self.budget)


Request = TypeVar("Request", bound=ModelRequest)


def request(kind: type[Request], model: str | os.PathLike[str] | Request, choices: Mapping[str, Any]) -> Request:
    """The record of what a caller wants: one that is there, or of a model with other fields in `choices`.

    Raises:
        UsageError: a field is unknown or of another type, or a value is none that it can have.
    """
    if isinstance(model, kind):
        fields: dict[str, Any] = {**msgspec.structs.asdict(model), **choices}
    else:
        fields = {"model": model, **choices}
    known = kind.__struct_fields__
    for name in fields:
        if name not in known:
            raise UsageError(
                f'"{name}" is nothing to ask of a {"build" if kind is BuildRequest else "model"}',
                expected=", ".join(known),
                action=did_you_mean(name, known),
            )
    with foreign(UsageError, f"a {kind.__name__}"):  # values of other libraries raise what they like
        return msgspec.convert({name: _plain(value) for name, value in fields.items()}, kind)


def _plain(value: Any) -> Any:
    """Paths as text, anywhere in a list."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value

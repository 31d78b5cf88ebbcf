"""Every task of an encoder: its methods' arguments, and the checkpoint's settings that its bundle brings along."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import records
from compiler.errors import InputError, IntegrityError
from compiler.records import Manifest
from compiler.runtime import Model, load
from tests import models as tiny
from tests.fuzz import tasks
from tests.fuzz.mutate import VALUES, Cases, Dice, changed, cut, to_json
from tests.fuzz.reader import Reader

NUMBER = re.compile(r"\d+\.\d+(?:e-?\d+)?")
PYTHON = ("positional argument", "keyword argument", "multiple values for argument")  # its own words for wrong calls
Call = tuple[str, str, list[Any], dict[str, Any]]  # task, method, arguments by place and by name


def split(task: str, call: dict[str, Any]) -> Call:
    """The parts of a call of `tasks.CALLS`."""
    method, *names = call
    return task, method, call[method], {name: call[name] for name in names}


def _calls() -> Cases:
    known = [(task, json.dumps(call)) for task, calls in tasks.CALLS.items() for call in calls]

    def build(dice: Dice) -> Call:
        task, written = dice.one(known)
        task, method, arguments, named = split(task, json.loads(written))
        if named and dice.below(2):
            named[dice.one(list(named))] = dice.one((*VALUES, np.float32(1), np.ones(2), b"x", object, ...))
        else:
            arguments = changed(arguments, dice)
        return task, method, arguments if isinstance(arguments, list) else [arguments], named

    return build


def _files() -> Cases:
    def build(dice: Dice) -> tuple[str, str, bytes]:
        task, name = dice.one(list(tasks.CALLS)), dice.one(("manifest.json", *tasks.FILES))
        tree = json.loads(tasks.manifest(task) if name == "manifest.json" else json.dumps(tasks.FILES[name]))
        if name == "manifest.json" and (part := dice.one(("inputs", "outputs", "outputs", ""))):
            tree[part] = changed(tree[part], dice)
        else:
            tree = changed(tree, dice)
        return task, name, cut(to_json(tree), dice, max(0, dice.below(6) - 4))

    return build


def call(model: Model, method: str, arguments: list[Any], named: dict[str, Any]) -> object:
    """Python itself says which argument is missing or too many, by a TypeError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return getattr(model, method)(*arguments, **named)
        except TypeError as error:
            if any(said in str(error) for said in PYTHON):
                raise InputError("Python says which argument") from error
            raise


def _loaded(folder: Path) -> dict[str, Model]:
    return {task: load(tasks.write(folder / task, task)) for task in tasks.CALLS}


def _called(folder: Path) -> Callable[[Call], object]:
    loaded = _loaded(folder)
    return lambda case: call(loaded[case[0]], *case[1:])


def _configured(folder: Path) -> Callable[[tuple[str, str, bytes]], object]:
    """The bundle with one of its files replaced, unverified; its session is opened once."""
    loaded = _loaded(folder)

    def run(case: tuple[str, str, bytes]) -> object:
        task, name, content = case
        path, manifest = folder / task / name, loaded[task].manifest
        valid = path.read_bytes()
        path.write_bytes(content)
        try:
            if name == "manifest.json":
                manifest = records.parse(content, Manifest, name)
            model = Model(folder / task, manifest, loaded[task]._session, verified=False)
            return [call(model, *split(task, each)[1:]) for each in tasks.CALLS[task]]
        finally:
            path.write_bytes(valid)

    return run


READERS = (
    Reader("task-arguments", frozenset({2}), _calls(), _called, cost=0.3),
    Reader("task-settings", frozenset({2, 7, 11}), _files(), _configured, cost=1),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_callers_and_checkpoints_say_is_refused_or_answered(reader: Reader) -> None:
    reader.check()


def test_right_calls_are_answered(tmp_path: Path) -> None:
    run = _called(tmp_path)
    for task, calls in tasks.CALLS.items():
        for each in calls:
            assert run(split(task, each)), task


@pytest.mark.parametrize(
    ("task", "argument", "value", "named"),
    [
        ("token-classification", "ignore", 5, "ignore"),
        ("token-classification", "ignore", "O", "ignore"),
        ("token-classification", "aggregation", [], "aggregation"),
        ("text-classification", "function", [], "function"),
        ("text-classification", "top_k", 2**63, "top_k"),
        ("question-answering", "max_answer_length", 10**30, "max_answer_length"),
        ("question-answering", "allow_no_answer", np.ones(2), "allow_no_answer"),
        ("fill-mask", "targets", "\ud800", "Unicode"),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(
    task: str, argument: str, value: object, named: str, tmp_path: Path
) -> None:
    _, method, arguments, others = split(task, tasks.CALLS[task][0])
    with load(tasks.write(tmp_path / "bundle", task)) as model, pytest.raises(InputError, match=named):
        call(model, method, arguments, {**others, argument: value})


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_a_padding_token_that_the_model_has_not_changes_nothing(task: str, tmp_path: Path) -> None:
    """Rows are filled with another token, which the mask hides, or go alone."""
    run = _configured(tmp_path)
    config = {**tasks.CONFIG, "text_config": {"pad_token_id": tiny.VOCABULARY}}
    found, expected = (str(run((task, "config.json", to_json(each)))) for each in (config, tasks.CONFIG))
    assert NUMBER.sub("", found) == NUMBER.sub("", expected)
    np.testing.assert_allclose(*(np.array(NUMBER.findall(each), float) for each in (found, expected)), atol=1e-5)


@pytest.mark.parametrize(
    "shape", [["batch", 5], ["batch", "sequence", 3], ["sequence", 3], [], ["batch", 10**9]], ids=str
)
def test_a_graph_that_gives_something_else_than_its_manifest_says(shape: list[Any], tmp_path: Path) -> None:
    tree = json.loads(tasks.manifest("text-classification"))
    tree["outputs"][0]["shape"] = shape
    with pytest.raises(IntegrityError, match=r"does not give the .logits. of its manifest|too many labels"):
        _configured(tmp_path)(("text-classification", "manifest.json", to_json(tree)))

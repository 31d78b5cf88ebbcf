"""Whole bundles: with another manifest under its own digest, and with whatever callers pass to their methods."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import bundle
from compiler.errors import CompilerError, InputError
from compiler.runtime import Model, load
from tests import models as tiny
from tests.fuzz import translators
from tests.fuzz.mutate import VALUES, Cases, Dice, changed, to_json
from tests.fuzz.reader import Reader

KINDS: Mapping[str, Callable[[Path], Path]] = {
    "encoder": tiny.encoder_bundle,
    "decoder": tiny.decoder_bundle,
    "encoder-decoder": translators.write,
}
TEXT = "ban dir kos"
ARRAYS = (
    np.zeros((0, 0), np.int64), np.zeros((1, 0), np.int64), np.ones((1, 3), np.int64), np.ones((2, 3), np.int64),
    np.full((1, 3), -1), np.full((1, 3), 2**62), np.ones((1, 3), np.int32), np.ones((1, 3), np.float32),
    np.full((1, 3), math.nan), np.ones(3, np.int64), np.array(1), np.array("x"), np.array([[None]]),
    np.ones((1, 200), np.int64), np.ones((1, 1, 3), np.int64), np.zeros((1, 3), np.int64),
    np.ones((1, 6), np.int64)[:, ::2], np.ones((1, 3), ">i8"), np.zeros((1, 1, 4, 16), np.float32),
    np.array(["2020-01-01"], "datetime64[D]"), np.zeros(1, [("a", "i4")]), np.ones((1, 3), np.bool_),
    np.zeros((1, 1), np.int64), np.ones((1, 1, 3, 16), np.float32), np.zeros((1, 1, 0, 16), np.float32),
)  # fmt: skip
ENCODER_CALLS = (
    {"embed": [[TEXT, ""]], "normalize": True, "prompt_name": None, "prompt": "x", "adapter": None},
    {"embed": [TEXT], "prompt_name": None, "adapter": None},
    {"run": [{"input_ids": 2, "attention_mask": 2, "token_type_ids": 15}], "adapter": None},
    {"embed_query": [TEXT], "normalize": None, "adapter": None},
    {"classify": [[TEXT]], "pairs": None},
    {"rerank": [TEXT, [TEXT]]},
)
PAST = {f"past_key_values.{layer}.{part}": 18 for layer in range(tiny.LAYERS) for part in ("key", "value")}
DECODER_CALLS = (
    {
        "generate": [TEXT], "max_new_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 1,
        "repetition_penalty": 1.1, "no_repeat_ngram_size": 2, "min_new_tokens": 1, "stop": ["ban"], "details": True,
    },
    {"generate": [[TEXT, "x"]], "max_new_tokens": 3, "beams": 2, "length_penalty": 1.0, "early_stopping": True},
    {"generate": [[{"role": "user", "content": TEXT}]], "max_new_tokens": 2, "tools": None, "documents": None},
    {"send": [TEXT], "max_new_tokens": 2, "stream": False, "stop": "x"},
    {"talk": [TEXT], "system": None, "template": None, "tools": None, "documents": None, "adapter": None},
    {"run": [{"input_ids": 2, "attention_mask": 2, "logits_positions": 22, **PAST}], "adapter": None},
)  # fmt: skip
TRANSLATOR_CALLS = (
    {
        "generate": [TEXT],
        "max_new_tokens": 3,
        "temperature": 0.5,
        "top_k": 5,
        "seed": 1,
        "stop": ["ban"],
        "repetition_penalty": 1.1,
        "details": True,
    },
    {"generate": [[TEXT, "x"]], "max_new_tokens": 3, "beams": 2, "length_penalty": 1.0, "early_stopping": True},
    {"generate": [TEXT], "max_new_tokens": 2, "no_repeat_ngram_size": 2, "min_new_tokens": 1},
    {
        "run": [
            {
                "input_ids": 2,
                "attention_mask": 2,
                "encoder_attention_mask": 2,
                "cross_key_values.0.key": 23,
                "cross_key_values.0.value": 23,
                "past_key_values.0.key": 24,
                "past_key_values.0.value": 24,
            }
        ],
        "adapter": None,
    },
)
CALLS = {"encoder": ENCODER_CALLS[:4], "decoder": DECODER_CALLS, "encoder-decoder": TRANSLATOR_CALLS}
METHODS = ("classify", "rerank", "classify_tokens", "answer", "choose", "is_next", "detect_replaced", "fill_mask")


def manifests(folder: Path) -> dict[str, Path]:
    """A bundle of each kind in the folder."""
    return {name: write(folder / name) for name, write in KINDS.items()}


def _signature(name: str) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        return json.loads((KINDS[name](Path(folder) / "bundle") / bundle.MANIFEST).read_bytes())


def _cases() -> Cases:
    known = {name: json.dumps(_signature(name)) for name in KINDS}

    def build(dice: Dice) -> tuple[str, bytes]:
        name = dice.one(list(known))
        tree = json.loads(known[name])
        # Mostly what decides how the graph is fed, not versions and digests.
        part = dice.one(("", "inputs", "outputs", "cache", "pooling", "options", "encoder"))
        if tree.get(part):
            tree[part] = changed(tree[part], dice)
        else:
            tree = changed(tree, dice)
        return name, to_json(tree)

    return build


def _used(folder: Path) -> Callable[[tuple[str, bytes]], object]:
    bundles = manifests(folder)

    def run(case: tuple[str, bytes]) -> object:
        path, content = bundles[case[0]], case[1]
        (path / bundle.MANIFEST).write_bytes(content)
        (path / bundle.DIGEST).write_text(f"{hashlib.sha256(content).hexdigest()}  {bundle.MANIFEST}\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with load(path) as model:
                if case[0] == "encoder":
                    return model.embed([TEXT, "x"])
                return model.generate([TEXT, "x"], max_new_tokens=2)

    return run


def _calls(*valid: dict[str, Any]) -> Cases:
    """One of these calls with arguments changed: a method's name with its arguments, and those by name.

    Numbers in a dict of `run` stand for arrays.
    """

    def build(dice: Dice) -> dict[str, Any]:
        call = json.loads(json.dumps(dice.one(valid)))
        method = next(iter(call))
        arguments, named = call.pop(method), call
        if method == "run" and dice.below(4):
            for name in arguments[0]:
                if not dice.below(2):
                    arguments[0][name] = dice.below(len(ARRAYS))
        elif named and dice.below(2):
            named[dice.one(list(named))] = dice.one((*VALUES, np.float32(1), np.int64(2), b"x", object, ...))
        else:
            arguments = changed(arguments, dice)
        if method == "classify" or not dice.below(10):
            method = dice.one(METHODS)
        return {"method": method, "arguments": arguments, "named": named}

    return build


def _called(kind: str) -> Callable[[Path], Callable[[dict[str, Any]], object]]:
    def prepare(folder: Path) -> Callable[[dict[str, Any]], object]:
        model = load(KINDS[kind](folder / "bundle"))

        def run(case: dict[str, Any]) -> object:
            arguments = case["arguments"] if isinstance(case["arguments"], list) else [case["arguments"]]
            named = {name: value for name, value in case["named"].items() if isinstance(name, str)}
            if case["method"] == "run":
                arguments = [_arrays(each) for each in arguments[:1]] or [{}]
            return _call(model, case["method"], arguments, named)

        return run

    return prepare


def _call(model: Model, method: str, arguments: list[Any], named: dict[str, Any]) -> object:
    owner: Any = model.conversation() if method == "send" else model
    try:
        if method == "talk":
            return model.conversation(**named).send(*arguments, max_new_tokens=2)
        return getattr(owner, method)(*arguments, **named)
    except TypeError as error:
        if "positional argument" in str(error) or "keyword argument" in str(error):
            raise InputError("Python says which argument") from error
        raise


def _arrays(feeds: Any) -> Any:
    if not isinstance(feeds, dict):
        return feeds
    return {
        name: ARRAYS[index] if isinstance(index, int) and 0 <= index < len(ARRAYS) else index
        for name, index in feeds.items()
    }


READERS = (
    Reader("sealed-manifest", frozenset({2, 7, 10, 11}), _cases(), _used, cost=1.5),
    Reader("encoder-arguments", frozenset({2, 7}), _calls(*ENCODER_CALLS), _called("encoder")),
    Reader("decoder-arguments", frozenset({2, 7}), _calls(*DECODER_CALLS), _called("decoder")),
    Reader("translator-arguments", frozenset({2, 7}), _calls(*TRANSLATOR_CALLS), _called("encoder-decoder")),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_callers_pass_is_refused_or_answered(reader: Reader) -> None:
    reader.check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_manifest_and_the_right_calls_are_answered(kind: str, tmp_path: Path) -> None:
    _used(tmp_path / "sealed")((kind, json.dumps(_signature(kind)).encode()))
    with load(KINDS[kind](tmp_path / "bundle")) as model:
        for call in CALLS[kind]:
            method, arguments = next(iter(call.items()))
            named = {name: value for name, value in call.items() if name != method}
            given = [_arrays(each) for each in arguments] if method == "run" else arguments  # type: ignore[attr-defined]
            try:
                _call(model, method, given, named)
            except CompilerError as error:
                raise AssertionError(f"{call}: {error}") from error


@pytest.mark.parametrize(
    ("kind", "part", "field", "value"),
    [
        ("encoder", "outputs", "shape", []),
        ("decoder", "outputs", "shape", []),
        ("encoder", "inputs", "dtype", "batch"),
        ("decoder", "inputs", "dtype", "total_sequence"),
    ],
)
def test_tensors_that_cannot_be_are_no_foreign_exceptions(
    kind: str, part: str, field: str, value: Any, tmp_path: Path
) -> None:
    tree = _signature(kind)
    tree[part][0][field] = value
    case = (kind, json.dumps(tree).encode())
    if kind == "decoder" and part == "outputs":
        READERS[0].judge(_used(tmp_path), case)  # what the logits' shape is, nobody needs
    else:
        with pytest.raises(CompilerError):
            _used(tmp_path)(case)


@pytest.mark.parametrize("name", [[], {}, 5], ids=repr)
def test_a_prompt_of_no_name_is_refused(name: Any, tmp_path: Path) -> None:
    with load(tiny.encoder_bundle(tmp_path / "bundle")) as model, pytest.raises(InputError, match="prompt_name"):
        model.embed("ban", prompt_name=name)

"""Whole checkpoints, with an adapter or without, as a build takes them up to the moment when the model is traced."""

from __future__ import annotations

import functools
import itertools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import pytest
import torch
import transformers
from safetensors.torch import save_file

import compiler.export as exporting
from compiler.checkpoint import resolve
from compiler.checkpoint.adapter import find
from compiler.checkpoint.join import attach
from compiler.checkpoint.original import open_original
from compiler.errors import ExportError
from compiler.storage import discard
from tests import models as tiny
from tests.fuzz.checkpoints import LORA
from tests.fuzz.mutate import Cases, Dice, changed, cut, to_json
from tests.fuzz.reader import Reader

SIZES = {"vocab_size": tiny.VOCABULARY, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1}
LLAMA = {**SIZES, "num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}
GENERATION = {
    "bos_token_id": 1, "eos_token_id": [2], "pad_token_id": 0, "max_length": 20, "max_new_tokens": 5, "min_length": 1,
    "do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "num_beams": 2, "length_penalty": 1.0,
    "early_stopping": False, "repetition_penalty": 1.1, "no_repeat_ngram_size": 2, "bad_words_ids": [[3]],
    "suppress_tokens": [4], "forced_eos_token_id": 2, "sequence_bias": [[[3], 1.5]], "stop_strings": ["ban"],
    "exponential_decay_length_penalty": [3, 1.1], "guidance_scale": 1.0, "transformers_version": "5.0.0",
}  # fmt: skip
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<bos>",
    "eos_token": {"__type": "AddedToken", "content": "<eos>", "lstrip": False, "special": True},
    "pad_token": "<pad>",
    "model_max_length": 64,
    "padding_side": "left",
    "chat_template": tiny.CHAT_TEMPLATE,
}
ADAPTER = {**LORA, "target_modules": ["q_proj"], "base_model_name_or_path": "base", "rank_pattern": {}}


class _TracedError(ExportError):
    """As far as a case goes."""


def _stop(*_: Any) -> NoReturn:
    raise _TracedError("traced")


def _write(folder: Path) -> None:
    """A Llama in this new folder."""
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).save_pretrained(folder)
    tiny.write_tokenizer(folder, bos=True)
    for name, tree in {"generation_config.json": GENERATION, "tokenizer_config.json": TOKENIZER}.items():
        (folder / name).write_bytes(to_json(tree))


def _files() -> dict[str, Any]:
    """The JSON of its files by name."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        _write(Path(folder))
        return {path.name: json.loads(path.read_bytes()) for path in sorted(Path(folder).glob("*.json"))}


def _write_adapter(folder: Path) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes(to_json(ADAPTER))
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    save_file(
        {name.format("A"): torch.ones(2, 8), name.format("B"): torch.ones(8, 2)}, folder / "adapter_model.safetensors"
    )


def _exported(folder: Path, adapters: list[str], out: Path) -> None:
    """All but the trace and what comes after it, for the product and for its reference."""
    checkpoint = resolve(str(folder), cache=out / "cache")
    checkpoint = attach(checkpoint, find(adapters), None, out / "cache")
    (out / "exported").mkdir()
    with patch.object(exporting, "trace", _stop):
        try:
            exporting.export(checkpoint, out / "exported")
        except _TracedError:
            open_original(checkpoint.reference, checkpoint.task)


def _cases(trees: Callable[[], Mapping[str, Any]]) -> Cases:
    known = functools.cache(lambda: {name: json.dumps(tree) for name, tree in trees().items()})

    def build(dice: Dice) -> tuple[str, bytes]:
        written = known()
        name = dice.one(list(written))
        return name, cut(to_json(changed(json.loads(written[name]), dice)), dice, max(0, dice.below(6) - 4))

    return build


def _replaced(folder: Path, run: Callable[[Path], object]) -> Callable[[tuple[str, bytes]], object]:
    """One file of the folder is another while `run` has a new folder for what it makes."""
    number = itertools.count()

    def read(case: tuple[str, bytes]) -> object:
        path, out = folder / case[0], folder.with_name(f"out{next(number)}")
        valid = path.read_bytes()
        path.write_bytes(case[1])
        out.mkdir()
        try:
            return run(out)
        finally:
            path.write_bytes(valid)
            discard(out)

    right = next(folder.glob("*config.json"))
    read((right.name, right.read_bytes()))  # no case waits for what is imported for the first
    return read


def _loaded(folder: Path) -> Callable[[tuple[str, bytes]], object]:
    _write(folder / "base")
    return _replaced(folder / "base", lambda out: _exported(folder / "base", [], out))


def _adapted(folder: Path) -> Callable[[tuple[str, bytes]], object]:
    _write(folder / "base")
    _write_adapter(folder / "adapter")
    number = itertools.count()

    def run(out: Path) -> None:
        """Compiled in, or kept apart."""
        name = "" if next(number) % 2 else "named="
        _exported(folder / "base", [f"{name}{folder / 'adapter'}"], out)

    return _replaced(folder / "adapter", run)


CODES = frozenset({2, 4, 5})
READERS = (
    Reader("model", CODES, _cases(_files), _loaded, cost=15, suite=200),
    Reader("adapted-model", CODES, _cases(lambda: {"adapter_config.json": ADAPTER}), _adapted, cost=10, suite=300),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_checkpoints_are_refused(reader: Reader) -> None:
    reader.check()

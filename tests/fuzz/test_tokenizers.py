"""A checkpoint's tokenizer in the forms that transformers reads: vocabulary, merges and settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.checkpoints import used
from tests.fuzz.mutate import Cases, Dice, changed, cut, to_json
from tests.fuzz.reader import Reader

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "ab")
PIECES = {"<|endoftext|>": 0, "a": 1, "b": 2, "ab": 3, "\u0120": 4}
FORMS: dict[str, dict[str, Any]] = {
    "wordpiece": {
        "config.json": {"model_type": "bert", "vocab_size": 9},
        "vocab.txt": "\n".join(WORDS).encode(),
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "mask_token": "[MASK]"},
        "special_tokens_map.json": {"pad_token": "[PAD]", "unk_token": {"content": "[UNK]", "lstrip": False}},
        "added_tokens.json": {"<new>": 9},
    },
    "bytes": {
        "config.json": {"model_type": "gpt2", "vocab_size": 5},
        "vocab.json": PIECES,
        "merges.txt": b"#version: 0.2\na b\n",
        "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False},
    },
}


def _cases() -> Cases:
    def build(dice: Dice) -> tuple[str, str, bytes]:
        form = dice.one(list(FORMS))
        name = dice.one(list(FORMS[form]))
        valid = FORMS[form][name]
        if isinstance(valid, bytes):
            return form, name, cut(valid, dice, 1 + dice.below(3))
        return form, name, cut(to_json(changed(json.loads(json.dumps(valid)), dice)), dice, max(0, dice.below(6) - 4))

    return build


def _content(valid: Any) -> bytes:
    return valid if isinstance(valid, bytes) else to_json(valid)


def _loaded(folder: Path) -> Callable[[tuple[str, str, bytes]], object]:
    for form, files in FORMS.items():
        (folder / form).mkdir()
        for name, valid in files.items():
            (folder / form / name).write_bytes(_content(valid))
        used(folder / form)  # no case waits for what is imported for the first

    def run(case: tuple[str, str, bytes]) -> object:
        form, name, content = case
        path = folder / form / name
        path.write_bytes(content)
        try:
            return used(folder / form)
        finally:
            path.write_bytes(_content(FORMS[form][name]))

    return run


READERS = (Reader("tokenizer-files", frozenset({4}), _cases(), _loaded, cost=4, suite=500),)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_tokenizers_are_refused(reader: Reader) -> None:
    reader.check()

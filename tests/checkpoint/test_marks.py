"""Padding and gaps as transformers has them, whatever the tokens are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import LlamaConfig, PreTrainedTokenizerFast

from compiler.checkpoint.marks import Marks, marks
from tests.models import write_tokenizer


def checkpoint(folder: Path, pad: int | None, **tokenizer: str) -> Path:
    write_tokenizer(folder)
    made = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **tokenizer)
    made.save_pretrained(folder)
    LlamaConfig(pad_token_id=pad).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("pad", "tokenizer", "expected"),
    [
        (3, {"pad_token": "<unk>"}, Marks(pad=3)),
        (5, {"pad_token": "<pad>"}, Marks(pad=5)),  # the model finds padding by its configuration
        (None, {"pad_token": "<user>", "padding_side": "left"}, Marks(pad=4, left=True)),
        (-1, {"pad_token": "<user>"}, Marks(pad=4)),
        (None, {}, Marks(pad=0)),
        (0, {"mask_token": "<assistant>"}, Marks(pad=0, mask=5)),
    ],
)
def test_marks(pad: int | None, tokenizer: dict[str, str], expected: Marks, tmp_path: Path) -> None:
    assert marks(checkpoint(tmp_path, pad, **tokenizer)) == expected


def test_a_folder_without_tokenizer_config(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    LlamaConfig(pad_token_id=2).save_pretrained(tmp_path)
    assert marks(tmp_path).pad == 2

"""SentencePiece models, as transformers makes tokenizers of them: their pieces, settings and bytes changed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from tests.fuzz.checkpoints import used
from tests.fuzz.mutate import NUMBERS, TEXTS, Cases, Dice, cut
from tests.fuzz.reader import Reader

WORDS = ("▁a", "▁b", "a", "b", "ab", "▁", "▁ab")
CONTROLS = ("<s>", "</s>", "<pad>", "[CLS]", "[SEP]", "[MASK]")
UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
FORMS: dict[str, tuple[str, dict[str, Any], int]] = {  # the file's name, config.json, and the kind of the model
    "t5": ("spiece.model", {"model_type": "t5", "vocab_size": 16}, UNIGRAM),
    "xlm-roberta": ("sentencepiece.bpe.model", {"model_type": "xlm-roberta", "vocab_size": 16}, UNIGRAM),
    "albert": ("spiece.model", {"model_type": "albert", "vocab_size": 16}, UNIGRAM),
    "llama": ("tokenizer.model", {"model_type": "llama", "vocab_size": 16}, BPE),
}


def model(kind: int) -> Any:
    """A whole model of a few pieces."""
    made = ModelProto()
    special = [("<unk>", UNKNOWN), *((name, CONTROL) for name in CONTROLS), ("<0x41>", BYTE)]
    for piece, form in (*special, *((word, NORMAL) for word in WORDS)):
        made.pieces.add(piece=piece, score=-float(len(made.pieces)), type=form)
    made.trainer_spec.model_type = kind
    made.trainer_spec.vocab_size = len(made.pieces)
    made.trainer_spec.byte_fallback = kind == BPE
    made.trainer_spec.unk_id, made.trainer_spec.bos_id, made.trainer_spec.eos_id = 0, 1, 2
    made.normalizer_spec.name = "identity"
    made.normalizer_spec.add_dummy_prefix = True
    made.normalizer_spec.precompiled_charsmap = struct.pack("<I", 1024) + bytes(1024) + b"a\0"
    return made


def _cases() -> Cases:
    def build(dice: Dice) -> tuple[str, bytes]:
        form = dice.one(list(FORMS))
        made = model(FORMS[form][2])
        for _ in range(dice.below(3)):
            _change(made, dice)
        return form, cut(made.SerializeToString(), dice, max(0, dice.below(6) - 3))

    return build


def _change(made: Any, dice: Dice) -> None:
    part = dice.one((made.pieces[dice.below(len(made.pieces))] if made.pieces else made, made.trainer_spec,
                     made.normalizer_spec, made))  # fmt: skip
    field = dice.one(part.DESCRIPTOR.fields)
    what = dice.below(3)
    if what == 0 or field.type == field.TYPE_MESSAGE:
        if field.name == "pieces" and made.pieces:
            del made.pieces[dice.below(len(made.pieces)) :]
        else:
            part.ClearField(field.name)
        return
    value = dice.one((*NUMBERS, *TEXTS, b"", b"\xff" * 9, b"\x08\0\0\0", True))
    try:
        if what == 1 and field.is_repeated:
            getattr(part, field.name).append(value)
        else:
            setattr(part, field.name, value)
    except (
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ):  # of another type, which only changed bytes can bring about
        part.ClearField(field.name)


def _loaded(folder: Path) -> Callable[[tuple[str, bytes]], object]:
    for form, (name, config, kind) in FORMS.items():
        (folder / form).mkdir()
        (folder / form / "config.json").write_text(json.dumps(config))
        (folder / form / name).write_bytes(model(kind).SerializeToString())
        used(folder / form)  # no case waits for what is imported for the first

    def run(case: tuple[str, bytes]) -> object:
        form, content = case
        (folder / form / FORMS[form][0]).write_bytes(content)
        return used(folder / form)

    return run


READERS = (Reader("sentencepiece", frozenset({4}), _cases(), _loaded, cost=4, suite=500),)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_models_are_refused(reader: Reader) -> None:
    reader.check()


@pytest.mark.parametrize("form", FORMS)
def test_right_models_are_read(form: str, tmp_path: Path) -> None:
    found: Any = _loaded(tmp_path)((form, model(FORMS[form][2]).SerializeToString()))
    assert all(ids for ids, _ in found[:2])

"""The tokens that transformers fills rows and gaps with, as the reference's own code reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from compiler.checkpoint.load import load_tokenizer
from compiler.checkpoint.quiet import quiet
from compiler.errors import CheckpointError
from compiler.reading import foreign


class Marks(NamedTuple):
    """What a text is not made of.

    Attributes:
        pad: the token that fills rows; 0 where a checkpoint names none, for a model that then never looks at it.
        mask: the token that stands for a missing word, or None.
        left: whether rows are filled on the left.
    """

    pad: int = 0
    mask: int | None = None
    left: bool = False


def marks(folder: Path) -> Marks:
    """Of a checkpoint. A model finds padding by its configuration, so that has the say before the tokenizer.

    Raises:
        CheckpointError: transformers cannot load the tokenizer, or the tokens that it names.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(folder)
    with foreign(CheckpointError, f"{folder}: the special tokens cannot be read"), quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).get_text_config()
        named = (getattr(config, "pad_token_id", None), tokenizer.pad_token_id)
        mask, left = tokenizer.mask_token_id, tokenizer.padding_side == "left"
    pad = next((each for each in map(_token, named) if each is not None), 0)
    return Marks(pad=pad, mask=mask, left=left)


def _token(stated: Any) -> int | None:
    """An id, where it is one: some configurations say -1 for none, or list several."""
    return stated if isinstance(stated, int) and stated >= 0 else None

"""Realistic inputs out of running text: many lengths, padding, batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from compiler.errors import InputError

Feeds = dict[str, np.ndarray]

PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>")

MASK_TOKENS = ("[MASK]", "<mask>")


class Text:
    """A long text, cut into pieces of so many tokens.

    Args:
        texts: what it consists of.
        tokenizer: tokenizer.json of the checkpoint; padding and truncation that it asks for are not used.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Path) -> None:
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(tokenizer))
        self.pad = self._pad_id()
        self.mask = self._first(MASK_TOKENS)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        encoding = self._tokenizer.encode("\n\n".join(texts))
        special = encoding.special_tokens_mask
        self.prefix: list[int] = encoding.ids[: _leading(special)]
        suffix = encoding.ids[len(special) - _leading(special[::-1]) :]
        self._specials = len(self.prefix) + len(suffix)
        self._suffix: list[int] = suffix
        self._ids: list[int] = [i for i, is_special in zip(encoding.ids, special, strict=True) if not is_special]

    def windows(self, count: int, tokens: int) -> list[np.ndarray]:
        """At most `count` pieces, one after the other, each (tokens,) int64 with what the model expects in front.

        Raises:
            InputError: the text is shorter than one piece.
        """
        body = tokens - len(self.prefix)
        count = min(count, len(self._ids) // body) if body > 0 else 0
        if count < 1:
            raise InputError(
                "the evaluation text is too short",
                found=f"{len(self._ids)} tokens",
                expected=f"at least {tokens}",
                action="give a longer text",
            )
        pieces = (self._ids[i * body : (i + 1) * body] for i in range(count))
        return [np.array(self.prefix + piece, dtype=np.int64) for piece in pieces]

    def pieces(self, lengths: Sequence[int]) -> list[np.ndarray]:
        """Consecutive pieces with special tokens on both ends; one (length,) int64 for each of `lengths`."""
        found, start = [], 0
        for length in lengths:
            body = self._ids[start : start + max(length - self._specials, 0)]
            start += len(body)
            found.append(np.array(self.prefix + body + self._suffix, dtype=np.int64))
        return found

    def batch(self, pieces: Sequence[np.ndarray], names: Sequence[str]) -> Feeds:
        """Pieces as one batch, padded on the right: the encoder inputs called `names`, (batch, sequence) int64.

        Raises:
            InputError: the graph wants something that is not made of text.
        """
        if unknown := sorted(set(names) - {"input_ids", "attention_mask", "token_type_ids"}):
            raise InputError(
                f"input {unknown[0]} cannot be made of text",
                expected="input_ids, attention_mask, token_type_ids",
                action="export the model for one of the tasks that `compile export --help` lists",
            )
        shape = (len(pieces), max(len(piece) for piece in pieces))
        ids = np.full(shape, self.pad, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece)] = piece
            mask[row, : len(piece)] = 1
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: known[name] for name in names}

    def _pad_id(self) -> int:
        if self._tokenizer.padding:
            return int(self._tokenizer.padding["pad_id"])
        return self._first(PAD_TOKENS) or 0

    def _first(self, tokens: Sequence[str]) -> int | None:
        """The id of the first of these tokens that the vocabulary has."""
        ids = (self._tokenizer.token_to_id(token) for token in tokens)
        return next((found for found in ids if found is not None), None)


def _leading(flags: Sequence[int]) -> int:
    """How many of the first flags are set."""
    return next((i for i, flag in enumerate(flags) if not flag), len(flags))

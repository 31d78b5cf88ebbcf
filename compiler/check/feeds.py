"""Realistic inputs out of running text: many lengths, padding, batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compiler.checkpoint.marks import Marks
from compiler.errors import CheckpointError, InputError
from compiler.reading import foreign

Feeds = dict[str, np.ndarray]

CHARACTERS = 12  # per token, more than English has


Pair = tuple[np.ndarray, np.ndarray]  # token ids and which text each belongs to, both (length,) int64


class Text:
    """A long text, cut into pieces of so many tokens.

    Args:
        texts: what it consists of.
        tokenizer: tokenizer.json of the checkpoint; padding and truncation that it asks for are not used.
        marks: the checkpoint's tokens for padding and gaps.

    Attributes:
        folder: where the tokenizer lies.
        marks: as given.
        config: config.json beside the tokenizer; {} where there is none.
        tokens: how many there are, special ones left out.
        least_pair: tokens of the shortest pair that `pairs` makes.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Path, marks: Marks) -> None:
        self.folder = tokenizer.parent
        with foreign(CheckpointError, f"{tokenizer}: not a readable tokenizer"):
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(tokenizer))
        self.marks = marks
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.config = _read(tokenizer.with_name("config.json"))
        self._text = "\n\n".join(texts)
        with foreign(CheckpointError, f"{tokenizer}: the tokenizer fails at plain text"):
            encoding = self._tokenizer.encode(self._text)
        special = encoding.special_tokens_mask
        self.prefix: list[int] = encoding.ids[: _leading(special)]
        suffix = encoding.ids[len(special) - _leading(special[::-1]) :]
        self._specials = len(self.prefix) + len(suffix)
        self._suffix: list[int] = suffix
        self._ids: list[int] = [i for i, is_special in zip(encoding.ids, special, strict=True) if not is_special]
        self.tokens = len(self._ids)
        self.least_pair = self._tokenizer.num_special_tokens_to_add(True) + 2

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

    def long(self, tokens: int) -> np.ndarray:
        """One row (tokens,) int64 with what the model expects in front; a text too short for it begins again."""
        return np.array(self.prefix + self._from(0, max(tokens - len(self.prefix), 0)), dtype=np.int64)

    def pieces(self, lengths: Sequence[int], start: int = 0) -> list[np.ndarray]:
        """Consecutive pieces with special tokens on both ends; one (length,) int64 for each of `lengths`.

        `start` is the number of tokens to pass over; a text too short begins again.
        """
        found = []
        for length in lengths:
            body = self._from(start, max(length - self._specials, 0))
            start += len(body)
            found.append(np.array(self.prefix + body + self._suffix, dtype=np.int64))
        return found

    def pairs(self, lengths: Sequence[int], number: int = 0) -> list[Pair]:
        """Two texts each, joined as the tokenizer joins them and cut to at most `lengths` tokens, or to `least_pair`.

        `number` counts calls with these lengths; each has texts of its own.
        """
        found, start = [], number * 2 * CHARACTERS * sum(lengths)
        for length in lengths:
            size = CHARACTERS * length
            start %= max(1, len(self._text) - 2 * size)
            first, second = self._text[start : start + size], self._text[start + size : start + 2 * size]
            self._tokenizer.enable_truncation(max(length, self.least_pair))
            with foreign(CheckpointError, "the tokenizer fails at plain text"):
                encoding = self._tokenizer.encode(first, second)
            found.append((np.array(encoding.ids, dtype=np.int64), np.array(encoding.type_ids, dtype=np.int64)))
            start += 2 * size
        self._tokenizer.no_truncation()
        return found

    def batch(self, pieces: Sequence[np.ndarray | Pair], names: Sequence[str]) -> Feeds:
        """Pieces or pairs as a batch, padded where the tokenizer pads: the inputs `names`, (batch, sequence) int64.

        Raises:
            InputError: the graph wants something that is not made of text.
        """
        if unknown := sorted(set(names) - {"input_ids", "attention_mask", "token_type_ids"}):
            raise InputError(
                f"input {unknown[0]} cannot be made of text",
                expected="input_ids, attention_mask, token_type_ids",
                action="export the model for one of the tasks that `compile export --help` lists",
            )
        pairs = [piece if isinstance(piece, tuple) else (piece, np.zeros_like(piece)) for piece in pieces]
        shape = (len(pairs), max(len(ids) for ids, _ in pairs))
        tokens = np.full(shape, self.marks.pad, dtype=np.int64)
        mask, types = np.zeros_like(tokens), np.zeros_like(tokens)
        for row, (ids, which) in enumerate(pairs):
            real = slice(shape[1] - len(ids), None) if self.marks.left else slice(len(ids))
            tokens[row, real], mask[row, real], types[row, real] = ids, 1, which
        known = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": types}
        return {name: known[name] for name in names}

    def _from(self, start: int, count: int) -> list[int]:
        """So many tokens of the text from a place on, as if it had no end."""
        start %= max(1, self.tokens)
        repeats = -(-(start + count) // max(1, self.tokens))
        return (self._ids * repeats)[start : start + count]


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes())) if path.is_file() else {}


def _leading(flags: Sequence[int]) -> int:
    """How many of the first flags are set."""
    return next((i for i, flag in enumerate(flags) if not flag), len(flags))

"""Deterministic inputs, made from the English text that every CPython ships."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Tokenizer

from compiler.corpus import evaluation_text


def _tokens(tokenizer: Path) -> list[int]:
    encoder = Tokenizer.from_file(str(tokenizer))
    encoder.no_truncation()
    encoder.no_padding()
    tokens: list[int] = encoder.encode("\n".join(evaluation_text()), add_special_tokens=False).ids
    return tokens


def prompt(tokenizer: Path, length: int) -> list[int]:
    """The first `length` tokens of the text."""
    return _tokens(tokenizer)[:length]


def windows(tokenizer: Path, count: int, length: int) -> list[list[int]]:
    """`count` windows of `length` tokens, spread evenly over the text."""
    tokens = _tokens(tokenizer)
    step = (len(tokens) - length) // count
    return [tokens[at : at + length] for at in range(0, count * step, step)]


def write_sentences(tokenizer: Path, out: Path, count: int, shortest: int, longest: int) -> Path:
    """Sentences of `shortest` to `longest` tokens, every length as likely, in random order, as a JSON list of texts."""
    decoder = Tokenizer.from_file(str(tokenizer))
    tokens = _tokens(tokenizer)
    chance = random.Random(0)
    sentences = []
    for _ in range(count):
        length = chance.randint(shortest, longest)
        at = chance.randrange(len(tokens) - length)
        sentences.append(decoder.decode(tokens[at : at + length]))
    out.write_text(json.dumps(sentences))
    return out

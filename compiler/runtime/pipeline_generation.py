"""`generate` as a transformers pipeline calls it: tokens in, tokens out, and its own names for the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compiler.errors import ContextError, InputError, UsageError, did_you_mean
from compiler.generation import FOLLOWED, IDLE, REFUSED, Settings, read

DRAWING = {"temperature": 1.0, "top_k": 50}  # transformers' defaults, where they leave something out
ONLY = {"num_return_sequences": 1}  # a setting that changes no answer, but how many there are


def asked(given: Mapping[str, Any], prompt: int) -> tuple[dict[str, Any], Settings]:
    """Arguments of `Model.generate` for transformers' settings and a prompt of so many tokens, and the settings.

    Raises:
        UsageError: a setting that is unknown, malformed or not supported, or asks for more than tokens.
        ContextError: `max_length` leaves no room after the prompt.
    """
    left = {name: value for name, value in given.items() if value is not None and name != "tokenizer"}
    for name, value in left.items():
        extra = name.startswith(("output_", "return_")) and value
        if name not in FOLLOWED | IDLE | REFUSED.keys() or extra or value != ONLY.get(name, value):
            raise UsageError(
                f"this bundle does not know the setting {name}",
                found=repr(value)[:80],
                action=did_you_mean(name, FOLLOWED) or "leave it out, or use generate() with a text",
            )
    if isinstance(biases := left.get("sequence_bias"), Mapping):  # as Python code may have it
        left["sequence_bias"] = [[list(tokens), bias] for tokens, bias in biases.items()]
    settings = read(left, UsageError, "generate()")
    made: dict[str, Any] = {"details": True, "temperature": 0}
    if settings.do_sample:
        made |= {name: left.get(name, default) for name, default in DRAWING.items()}
    if settings.max_length and settings.max_new_tokens is None:
        if settings.max_length <= prompt:
            raise ContextError(
                "max_length leaves no room after the prompt",
                found=f"{prompt} tokens",
                expected=f"less than {settings.max_length}",
            )
        made["max_new_tokens"] = settings.max_length - prompt
    return made, settings


def prompts(input_ids: np.ndarray, attention_mask: np.ndarray) -> list[list[int]]:
    """Each row's tokens without its padding. Raises InputError for a row that has none."""
    rows = [ids[mask == 1].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True)]
    if not all(rows):
        raise InputError("a prompt is empty", expected="at least one token a row")
    return rows


def continued(input_ids: np.ndarray, answers: Sequence[Sequence[int]], pad: int) -> np.ndarray:
    """The rows with their answers behind, filled up on the right: (batch, sequence) int64."""
    width = max(map(len, answers))
    filled = np.array([[*answer, *[pad] * (width - len(answer))] for answer in answers], np.int64)
    return np.concatenate([input_ids, filled.reshape(len(answers), width)], axis=1)

"""`generate` as a transformers pipeline calls it: tokens in, tokens out, and its own names for the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compiler.errors import ContextError, InputError, UsageError

RENAMED = {"num_beams": "beams"}
SAME = ("max_new_tokens", "min_new_tokens", "repetition_penalty", "no_repeat_ngram_size", "length_penalty")
DRAWING = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "min_p": 0.0}  # transformers' defaults

# They hold anyway: the bundle reads what generation_config.json says about single tokens by itself.
HELD = {
    "_from_model_config",
    "bos_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "min_length",
    "pad_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "renormalize_logits",
    "tokenizer",
    "transformers_version",
    "use_cache",
    "cache_implementation",
}
NEUTRAL: dict[str, Any] = {"num_return_sequences": 1, "early_stopping": False, "typical_p": 1.0, "max_length": 20}


def arguments(settings: Mapping[str, Any], prompt: int) -> dict[str, Any]:
    """Arguments of `Model.generate` for transformers' settings and a prompt of so many tokens.

    Raises:
        UsageError: a setting that `Model.generate` has not.
        ContextError: `max_length` leaves no room after the prompt.
    """
    left = {name: value for name, value in settings.items() if value is not None and value is not False}
    made: dict[str, Any] = {"details": True}
    longest = left.pop("max_length", None)
    if longest and "max_new_tokens" not in left:
        if longest <= prompt:
            raise ContextError(
                "max_length leaves no room after the prompt", found=f"{prompt} tokens", expected=f"less than {longest}"
            )
        made["max_new_tokens"] = longest - prompt
    drawing = left.pop("do_sample", False)
    for name, default in DRAWING.items():
        value = left.pop(name, default)
        if drawing:
            made[name] = value
    made |= {name: left.pop(name) for name in (*SAME, "early_stopping") if name in left}
    made |= {ours: left.pop(theirs) for theirs, ours in RENAMED.items() if theirs in left}
    foreign = [name for name, value in left.items() if name not in HELD and value != NEUTRAL.get(name)]
    if foreign:
        raise UsageError(
            f"this bundle does not know the setting {foreign[0]}",
            expected=", ".join([*SAME, *DRAWING, *RENAMED, "do_sample", "max_length", "early_stopping"]),
            action="leave it out, or use generate() with a text",
        )
    return made


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

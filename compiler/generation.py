"""Settings of generation: every one that transformers' GenerationConfig has, and what is made of it here.

Nothing that a checkpoint declares and that would change answers is passed over: it is followed, or refused by name. The
fields of `Settings` are followed. `REFUSED` are not implemented: with a value that would change answers the
checkpoint is refused. `IDLE` change no answer. A test compares the three with transformers' own fields; what is in
none of them transformers does not know either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from compiler.errors import CompilerError

MOST_BEAMS = 256
MOST_EXPONENT = 32  # of lengths, so that no power of one overflows
MOST_PENALTY = 10**6

Count = Annotated[int, msgspec.Meta(ge=0)]
Token = Annotated[int, msgspec.Meta(ge=0)]
Penalty = Annotated[float, msgspec.Meta(gt=0, le=MOST_PENALTY)]
Scale = Annotated[float, msgspec.Meta(ge=-MOST_PENALTY, le=MOST_PENALTY)]
Words = tuple[tuple[Token, ...], ...]


class Bias(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is added to the score of the last of these tokens where the others stand before it."""

    tokens: Annotated[tuple[Token, ...], msgspec.Meta(min_length=1)]
    bias: float


class Decay(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """After `start` tokens of an answer its end becomes likelier, by `factor` to the power of those that follow."""

    start: int
    factor: float


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is followed, under transformers' names and with its meaning; None is not declared.

    `do_sample` is followed where transformers itself asks (its pipelines); `Model.generate` draws when its caller gives
    a temperature, and takes the other settings of drawing from here.
    """

    max_length: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_new_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    min_length: Count | None = None
    min_new_tokens: Count | None = None
    max_time: float | None = None
    stop_strings: str | tuple[str, ...] | None = None

    num_beams: Annotated[int, msgspec.Meta(ge=1, le=MOST_BEAMS)] | None = None
    length_penalty: Annotated[float, msgspec.Meta(ge=-MOST_EXPONENT, le=MOST_EXPONENT)] | None = None
    early_stopping: bool | Literal["never"] | None = None

    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    top_h: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None

    repetition_penalty: Penalty | None = None
    encoder_repetition_penalty: Penalty | None = None
    no_repeat_ngram_size: Count | None = None
    encoder_no_repeat_ngram_size: Count | None = None
    sequence_bias: tuple[Bias, ...] | None = None
    bad_words_ids: Words | None = None
    suppress_tokens: tuple[int, ...] | None = None
    begin_suppress_tokens: tuple[int, ...] | None = None
    forced_bos_token_id: Token | None = None
    forced_eos_token_id: Token | tuple[Token, ...] | None = None
    exponential_decay_length_penalty: Decay | None = None
    remove_invalid_values: bool | None = None
    renormalize_logits: bool | None = None
    guidance_scale: Scale | None = None

    bos_token_id: int | tuple[int, ...] | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | tuple[int, ...] | None = None
    decoder_start_token_id: Token | tuple[Token, ...] | None = None


FOLLOWED = frozenset(Settings.__struct_fields__)

REFUSED: dict[str, Callable[[Any], bool]] = {  # whether a value changes nothing
    "assistant_ensemble_weight": lambda value: False,
    "cache_implementation": lambda value: value != "quantized",  # the only one that rounds
    "constraints": lambda value: False,
    "diversity_penalty": lambda value: value == 0,
    "dola_layers": lambda value: False,
    "force_words_ids": lambda value: False,
    "is_assistant": lambda value: value is False,
    "num_beam_groups": lambda value: value == 1,
    "penalty_alpha": lambda value: value == 0,
    "token_healing": lambda value: value is False,
    "watermarking_config": lambda value: False,
}

IDLE = frozenset(
    {
        # where the answers lie while they are made, and how fast
        *(
            "use_cache",
            "cache_config",
            "max_cache_len",
            "low_memory",
            "prefill_chunk_size",
            "continuous_batching_config",
        ),
        *("compile_config", "disable_compile"),
        # guesses that the model itself confirms or corrects
        *("use_mtp", "speculation_type", "prompt_lookup_num_tokens", "max_matching_ngram_size"),
        *("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold"),
        *("assistant_early_exit", "assistant_lookbehind", "target_lookbehind"),
        # what is given beside the answer; a call here asks for that itself, and gets one answer a prompt
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"),
        "num_return_sequences",
        # where the settings came from
        *("transformers_version", "_from_model_config", "_commit_hash", "_original_object_hash"),
    }
)


def read(declared: Mapping[str, Any], raises: type[CompilerError], name: str) -> Settings:
    """The settings that are followed.

    Args:
        declared: the content of a generation_config.json.
        raises: the error for a setting that is refused or malformed.
        name: where they were declared, for the error.
    """
    for setting, harmless in REFUSED.items():
        value = declared.get(setting)
        if value is not None and not harmless(value):
            raise raises(
                f"{name}: the setting {setting} is not supported",
                found=f"{setting} = {value!r:.80}",
                action=f"remove {setting} from generation_config.json if answers without it will do",
            )
    try:
        return msgspec.convert({key: value for key, value in declared.items() if key in FOLLOWED}, Settings)
    except (msgspec.ValidationError, OverflowError) as error:
        raise raises(f"{name}: a setting of generation is malformed", found=str(error)) from error


def require_tokens(settings: Settings, rows: int, raises: type[CompilerError], name: str) -> None:
    """Raise `raises` where a rule is about a token that a vocabulary of `rows` tokens does not have.

    Ends, and tokens that are suppressed, may be beyond it: they are never chosen anyway.
    """
    named: dict[str, tuple[int, ...]] = {
        "forced_bos_token_id": ids(settings.forced_bos_token_id),
        "forced_eos_token_id": ids(settings.forced_eos_token_id),
        "decoder_start_token_id": ids(settings.decoder_start_token_id),
        "bad_words_ids": tuple(token for word in settings.bad_words_ids or () for token in word),
        "sequence_bias": tuple(token for each in settings.sequence_bias or () for token in each.tokens),
    }
    for setting, tokens in named.items():
        if beyond := [token for token in tokens if token >= rows]:
            raise raises(
                f"{name}: {setting} names a token that the model has not",
                found=str(beyond[0]),
                expected=f"0 to {rows - 1}",
            )


def ids(tokens: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """One token, several or none, as a tuple."""
    return () if tokens is None else (tokens,) if isinstance(tokens, int) else tokens

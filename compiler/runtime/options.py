"""How to generate: what the caller asks for, completed by what the checkpoint declares."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from compiler.errors import InputError, did_you_mean
from compiler.generation import MOST_BEAMS, MOST_EXPONENT, MOST_PENALTY, Settings, ids
from compiler.runtime.beams import Beams
from compiler.runtime.chat import Message, Shown, Tool
from compiler.runtime.foreign import hint
from compiler.runtime.inputs import shown
from compiler.runtime.rules import Rules
from compiler.runtime.sampling import Sampling

MAX_NEW_TOKENS = 256
MOST_TOKENS = 2**31  # no vocabulary is larger

EarlyStopping = bool | Literal["never"]
Details = bool | Literal["logits"]


class Arguments(TypedDict, total=False):
    """Keyword arguments of `generate`; None leaves the choice to the checkpoint, or else is the default in brackets.

    Attributes:
        max_new_tokens: at most so many tokens (256); an answer also ends where the model's context does.
        temperature: 0 takes the likeliest token (0, whatever the checkpoint declares), otherwise tokens are drawn.
        top_p: draw from the likeliest tokens that together have this probability (1).
        top_k: draw from so many likeliest tokens; 0 is all.
        min_p: draw from tokens that have at least this share of the likeliest one's probability (0).
        seed: the same seed gives the same answer; row i of a list draws from (seed, i).
        repetition_penalty: above 1 makes tokens that have occurred less likely (1).
        no_repeat_ngram_size: no sequence of so many tokens occurs twice; 0 allows all.
        min_new_tokens: an answer does not end before (0).
        beams: hypotheses of a beam search (1: none). A search takes no temperature.
        length_penalty: of a search; above 0 favours long answers (1).
        early_stopping: of a search; True, False or "never" (False).
        guidance_scale: above 1 makes the prompt count more, as against an answer without it, or after `negative_prompt`
            (1). Takes a second cache; for text-generation.
        negative_prompt: with a guidance scale, the text or chat messages that answers are led away from.
        stop: an answer ends before the first of these texts.
        cancel: once this event is set, from any thread, the answer ends with the tokens it has.
        adapter: the name of one of the bundle's adapters.
        template: for chat messages, the name of one of several chat templates.
        tools: for chat messages, functions that the model may call, as JSON schemas or as Python functions with hints
            and a docstring in Google's style; chooses "tool_use" where there is a template of that name.
        documents: for chat messages, texts to answer from, as the template knows them.
    """

    max_new_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    seed: int | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    min_new_tokens: int | None
    beams: int | None
    length_penalty: float | None
    early_stopping: EarlyStopping | None
    guidance_scale: float | None
    negative_prompt: str | Sequence[Message] | None
    stop: str | Sequence[str] | None
    cancel: threading.Event | None
    adapter: str | None
    template: str | None
    tools: Sequence[Tool] | None
    documents: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Options:
    """Checked and complete.

    `max_length` bounds prompt and answer together, where the checkpoint does so and the caller says nothing.
    `deadline` is a time of `time.monotonic()`. `negative` is the negative prompt's tokens; resolve() leaves it empty.
    """

    max_new_tokens: int
    max_length: int | None
    deadline: float
    sampling: Sampling
    beams: Beams
    rules: Rules
    stops: tuple[str, ...]
    cancel: threading.Event | None
    details: Details
    shown: Shown
    guidance: float = 1.0
    negative: tuple[int, ...] = ()

    @property
    def cancelled(self) -> bool:
        return (self.cancel is not None and self.cancel.is_set()) or time.monotonic() > self.deadline


def resolve(arguments: Mapping[str, Any], declared: Settings, ends: frozenset[int]) -> Options:
    """Complete the caller's arguments by what the checkpoint declares.

    Args:
        arguments: see `Arguments`, and `details`; `adapter` and `negative_prompt` are not looked at.
        declared: the checkpoint's settings.
        ends: tokens that end an answer.

    Raises:
        InputError: an argument is unknown, of a wrong type or out of range.
    """
    known = {*Arguments.__annotations__, "details"}
    for name in arguments:
        if name not in known:
            advice = hint(name) or did_you_mean(name, known)
            raise InputError(
                f'generate() has no argument "{name}"',
                expected="" if advice else ", ".join(sorted(known)),
                action=advice,
            )

    def choose(name: str, otherwise: Any, key: str = "") -> Any:
        for found in (arguments.get(name), getattr(declared, key or name, None)):
            if found is not None:
                return found
        return otherwise

    whole = declared.max_length if declared.max_new_tokens is None and arguments.get("max_new_tokens") is None else None
    options = Options(
        max_new_tokens=_whole("max_new_tokens", choose("max_new_tokens", whole or MAX_NEW_TOKENS), least=1),
        max_length=whole,
        deadline=math.inf if declared.max_time is None else time.monotonic() + declared.max_time,
        sampling=_sampling(arguments, declared),
        beams=Beams(
            count=_whole("beams", choose("beams", 1, "num_beams"), least=1, most=MOST_BEAMS),
            length_penalty=_number("length_penalty", choose("length_penalty", 1.0), MOST_EXPONENT),
            early_stopping=choose("early_stopping", False),
        ),
        rules=Rules(
            # Of the same tokens named twice, the last bias holds.
            sequence_bias=tuple({each.tokens: each.bias for each in declared.sequence_bias or ()}.items()),
            encoder_repetition_penalty=choose("encoder_repetition_penalty", 1.0),
            repetition_penalty=_positive("repetition_penalty", choose("repetition_penalty", 1.0)),
            no_repeat_ngram_size=_whole("no_repeat_ngram_size", choose("no_repeat_ngram_size", 0), least=0),
            encoder_no_repeat_ngram_size=choose("encoder_no_repeat_ngram_size", 0),
            bad_words=tuple(
                word for word in declared.bad_words_ids or () if word and not (len(word) == 1 and word[0] in ends)
            ),
            # A number of new tokens takes the place of one of the whole text.
            min_length=(declared.min_length or 0) if choose("min_new_tokens", None) is None else 0,
            min_new_tokens=_whole("min_new_tokens", choose("min_new_tokens", 0), least=0),
            first=declared.forced_bos_token_id,
            last=ids(declared.forced_eos_token_id),
            remove_invalid=declared.remove_invalid_values is True,
            decay=_decay(declared),
            suppressed=_real(declared.suppress_tokens),
            suppressed_first=_real(declared.begin_suppress_tokens),
            renormalize=declared.renormalize_logits is True,
            ends=tuple(sorted(_real(tuple(ends)))),
        ),
        stops=_stops(choose("stop", None, "stop_strings")),
        cancel=arguments.get("cancel"),
        details=arguments.get("details", False),
        shown=Shown(**{name: arguments[name] for name in Shown._fields if name in arguments}),
        guidance=_number("guidance_scale", choose("guidance_scale", 1.0), MOST_PENALTY),
    )
    if options.beams.count > 1 and options.sampling.temperature > 0:
        raise InputError(
            "beams and temperature exclude each other",
            found=f"beams={options.beams.count}, temperature={options.sampling.temperature}",
            action="give beams=1 to draw" if arguments.get("beams") is None else "leave one of them out",
        )
    if not isinstance(options.beams.early_stopping, bool) and options.beams.early_stopping != "never":
        raise InputError("early_stopping", found=repr(options.beams.early_stopping), expected='True, False or "never"')
    if not isinstance(options.details, bool) and options.details != "logits":
        raise InputError("details", found=repr(options.details), expected='True, False or "logits"')
    if options.cancel is not None and not callable(getattr(options.cancel, "is_set", None)):
        raise InputError("cancel", found=type(options.cancel).__name__, expected="a threading.Event")
    return options


def _sampling(arguments: Mapping[str, Any], declared: Settings) -> Sampling:
    """How to draw, if the caller asks for it."""
    names = [name for name in Sampling.__dataclass_fields__ if name not in ("temperature", "seed")]
    drawn = {name: arguments[name] for name in ("temperature", *names, "seed") if arguments.get(name) is not None}
    if drawn.get("temperature", 0) != 0:
        given = {name: value for name in names if (value := getattr(declared, name)) is not None}
        drawn = given | drawn
    return Sampling(**drawn)


def _decay(declared: Settings) -> tuple[int, float] | None:
    decay = declared.exponential_decay_length_penalty
    return None if decay is None else (decay.start, decay.factor)


def _real(tokens: tuple[int, ...] | None) -> tuple[int, ...]:
    """Without those that no vocabulary has, which are never chosen anyway."""
    return tuple(token for token in tokens or () if 0 <= token < MOST_TOKENS)


def _whole(name: str, value: Any, *, least: int, most: float = math.inf) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        expected = f"{least} or more" if most == math.inf else f"{least} to {most}"
        raise InputError(f"{name} is out of range", found=shown(value), expected=expected)
    return value


def _number(name: str, value: Any, most: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not -most <= value <= most:
        raise InputError(f"{name} is out of range", found=shown(value), expected=f"a number, -{most} to {most}")
    return float(value)


def _positive(name: str, value: Any) -> float:
    if (number := _number(name, value, MOST_PENALTY)) <= 0:
        raise InputError(f"{name} is out of range", found=shown(value), expected="more than 0")
    return number


def _stops(stop: Any) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(stops, list | tuple) or not all(isinstance(each, str) and each for each in stops):
        raise InputError("stop texts", found=shown(stop), expected="a text that is not empty, or a list of them")
    return tuple(stops)

"""How to generate: what the caller asks for, completed by what the checkpoint declares."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from compiler.errors import InputError, did_you_mean
from compiler.runtime.beams import Beams
from compiler.runtime.chat import Shown
from compiler.runtime.inputs import shown
from compiler.runtime.rules import Rules
from compiler.runtime.sampling import Sampling

MAX_NEW_TOKENS = 256
MOST_BEAMS = 256
MOST_EXPONENT = 32  # of lengths, so that no power of one overflows
MOST_PENALTY = 10**6

EarlyStopping = bool | Literal["never"]
Details = bool | Literal["logits"]


class Arguments(TypedDict, total=False):
    """Keyword arguments of `generate`; None leaves the choice to the checkpoint (encoder-decoders), or is the default.

    Attributes:
        max_new_tokens: at most so many tokens (256); an answer also ends where the model's context does.
        temperature: 0 takes the likeliest token, otherwise tokens are drawn.
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
        stop: an answer ends before the first of these texts.
        cancel: once this event is set, from any thread, the answer ends with the tokens it has.
        adapter: the name of one of the bundle's adapters.
        template: for chat messages, the name of one of several chat templates.
        tools: for chat messages, JSON schemas of functions that the model may call; chooses "tool_use" where there is
            a template of that name.
        documents: for chat messages, texts to answer from, as the template knows them.
    """

    max_new_tokens: int | None
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    min_new_tokens: int | None
    beams: int | None
    length_penalty: float | None
    early_stopping: EarlyStopping | None
    stop: str | Sequence[str] | None
    cancel: threading.Event | None
    adapter: str | None
    template: str | None
    tools: Sequence[Mapping[str, Any]] | None
    documents: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Options:
    """Checked and complete."""

    max_new_tokens: int
    sampling: Sampling
    beams: Beams
    rules: Rules
    stops: tuple[str, ...]
    cancel: threading.Event | None
    details: Details
    shown: Shown

    @property
    def cancelled(self) -> bool:
        return self.cancel is not None and self.cancel.is_set()


def resolve(
    arguments: Mapping[str, Any], declared: Mapping[str, Any], ends: frozenset[int], *, defaults: bool
) -> Options:
    """Complete the caller's arguments.

    Args:
        arguments: see `Arguments`, and `details`; `adapter` is not looked at.
        declared: generation_config.json. What it says about single tokens always holds.
        ends: tokens that end an answer.
        defaults: take missing arguments from it too.

    Raises:
        InputError: an argument is unknown, of a wrong type or out of range.
    """
    known = {*Arguments.__annotations__, "details"}
    for name in arguments:
        if name not in known:
            raise InputError(f'generate() has no argument "{name}"', action=did_you_mean(name, known))

    def choose(name: str, key: str, otherwise: Any) -> Any:
        given = arguments.get(name)
        if given is None and defaults:
            given = declared.get(key)
        return otherwise if given is None else given

    drawn = {name: arguments[name] for name in ("temperature", "top_p", "top_k", "min_p", "seed") if name in arguments}
    longest = declared.get("max_length")
    room = declared.get("max_new_tokens") or (longest - 1 if isinstance(longest, int) and longest > 1 else None)
    options = Options(
        max_new_tokens=_count(arguments, "max_new_tokens", room if defaults and room else MAX_NEW_TOKENS, least=1),
        sampling=Sampling(**drawn),
        beams=Beams(
            count=_whole("beams", choose("beams", "num_beams", 1), least=1, most=MOST_BEAMS),
            length_penalty=_number("length_penalty", choose("length_penalty", "length_penalty", 1.0), MOST_EXPONENT),
            early_stopping=choose("early_stopping", "early_stopping", False),
        ),
        rules=Rules(
            repetition_penalty=_positive("repetition_penalty", choose("repetition_penalty", "repetition_penalty", 1.0)),
            no_repeat_ngram_size=_whole(
                "no_repeat_ngram_size", choose("no_repeat_ngram_size", "no_repeat_ngram_size", 0), least=0
            ),
            min_new_tokens=_whole("min_new_tokens", choose("min_new_tokens", "min_new_tokens", 0), least=0),
            min_length=_whole("min_length", declared.get("min_length") or 0, least=0),
            bad_words=_words(declared.get("bad_words_ids"), ends),
            first=next(iter(_tokens(declared.get("forced_bos_token_id"))), None),
            last=_tokens(declared.get("forced_eos_token_id")),
            suppressed=_tokens(declared.get("suppress_tokens")),
            suppressed_first=_tokens(declared.get("begin_suppress_tokens")),
            renormalize=declared.get("renormalize_logits") is True,
            ends=tuple(sorted(ends)),
        ),
        stops=_stops(arguments.get("stop")),
        cancel=arguments.get("cancel"),
        details=arguments.get("details", False),
        shown=Shown(**{name: arguments[name] for name in Shown._fields if name in arguments}),
    )
    if options.beams.count > 1 and options.sampling.temperature > 0:
        raise InputError(
            "beams and temperature exclude each other",
            found=f"beams={options.beams.count}, temperature={options.sampling.temperature}",
            action="leave one of them out",
        )
    if not isinstance(options.beams.early_stopping, bool) and options.beams.early_stopping != "never":
        raise InputError("early_stopping", found=repr(options.beams.early_stopping), expected='True, False or "never"')
    if not isinstance(options.details, bool) and options.details != "logits":
        raise InputError("details", found=repr(options.details), expected='True, False or "logits"')
    if options.cancel is not None and not callable(getattr(options.cancel, "is_set", None)):
        raise InputError("cancel", found=type(options.cancel).__name__, expected="a threading.Event")
    return options


def _count(arguments: Mapping[str, Any], name: str, otherwise: int, *, least: int) -> int:
    given = arguments.get(name)
    return otherwise if given is None else _whole(name, given, least=least)


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


def _tokens(value: Any) -> tuple[int, ...]:
    match value:
        case int(token):
            return (token,)
        case [*tokens]:
            return tuple(token for token in tokens if isinstance(token, int))
    return ()


def _words(value: Any, ends: frozenset[int]) -> tuple[tuple[int, ...], ...]:
    """Sequences of tokens, without those that are nothing but an end."""
    words = (_tokens(word) for word in value if isinstance(word, list)) if isinstance(value, list) else ()
    return tuple(word for word in words if word and not (len(word) == 1 and word[0] in ends))


def _stops(stop: Any) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(stops, list | tuple) or not all(isinstance(each, str) and each for each in stops):
        raise InputError("stop texts", found=shown(stop), expected="a text that is not empty, or a list of them")
    return tuple(stops)

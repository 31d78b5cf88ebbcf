from __future__ import annotations

import math
from typing import Any

import pytest

from compiler.errors import InputError
from compiler.runtime.beams import Beams
from compiler.runtime.options import Options, resolve
from compiler.runtime.rules import Rules

DECLARED = {
    "num_beams": 4,
    "length_penalty": 0.6,
    "early_stopping": True,
    "no_repeat_ngram_size": 3,
    "repetition_penalty": 1.5,
    "max_length": 62,
    "min_length": 11,
    "bad_words_ids": [[7], [8, 9], [2]],
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "suppress_tokens": [5, 6],
    "begin_suppress_tokens": [3],
    "renormalize_logits": True,
}


def resolved(arguments: dict[str, Any], declared: dict[str, Any] = DECLARED, *, defaults: bool = True) -> Options:
    return resolve(arguments, declared, frozenset({2, 4}), defaults=defaults)


def test_an_encoder_decoder_takes_what_the_checkpoint_declares() -> None:
    found = resolved({})
    assert found.max_new_tokens == 61  # the start token counts
    assert found.beams == Beams(4, 0.6, True)
    assert found.rules == Rules(
        repetition_penalty=1.5,
        no_repeat_ngram_size=3,
        bad_words=((7,), (8, 9)),  # not the end
        min_length=11,
        first=0,
        last=(2,),
        suppressed=(5, 6),
        suppressed_first=(3,),
        renormalize=True,
        ends=(2, 4),
    )
    assert resolved({}, DECLARED | {"max_new_tokens": 9}).max_new_tokens == 9


def test_a_decoder_takes_only_what_is_about_single_tokens() -> None:
    found = resolved({}, defaults=False)
    assert (found.max_new_tokens, found.beams) == (256, Beams(1))
    assert (found.rules.repetition_penalty, found.rules.no_repeat_ngram_size) == (1, 0)
    assert found.rules.suppressed == (5, 6)
    assert found.rules.min_length == 11


def test_what_the_caller_says_comes_first() -> None:
    found = resolved({"beams": 1, "max_new_tokens": 5, "no_repeat_ngram_size": 0, "length_penalty": -1})
    assert (found.beams, found.max_new_tokens) == (Beams(1, -1.0, True), 5)
    assert found.rules.no_repeat_ngram_size == 0


def test_a_checkpoint_without_settings_changes_nothing() -> None:
    found = resolved({}, {}, defaults=True)
    assert not found.rules.active
    assert (found.max_new_tokens, found.beams, found.stops, found.cancelled) == (256, Beams(1), (), False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"temprature": 1}, r'"temprature"\n.*did you mean "temperature"'),
        ({"beams": 0}, "beams is out of range"),
        ({"beams": True}, "beams is out of range"),
        ({"beams": 2, "temperature": 1.0}, "beams and temperature"),
        ({"beams": 10**6}, "beams is out of range\n.*1000000\n.*1 to 256"),
        *(
            ({"length_penalty": value}, "length_penalty is out of range")
            for value in ("long", math.nan, -math.inf, 1e308)
        ),
        *(
            ({name: 10**5000}, f"{name} is out of range")
            for name in ("temperature", "length_penalty", "min_p", "beams")
        ),
        ({"early_stopping": []}, "early_stopping"),
        ({"repetition_penalty": math.nan}, "repetition_penalty is out of range"),
        ({"details": []}, "details"),
        *(({"stop": value}, "stop texts") for value in (5, {"a": 1}, [1], b"a", "")),
        ({"early_stopping": "soon"}, "early_stopping"),
        ({"repetition_penalty": 0}, "repetition_penalty is out of range"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is out of range"),
        ({"min_new_tokens": 1.5}, "min_new_tokens is out of range"),
        ({"max_new_tokens": 0}, "max_new_tokens is out of range"),
        ({"details": "all"}, "details"),
        ({"cancel": True}, r"cancel\n.*bool"),
        ({"stop": ["a", ""]}, "stop texts"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolved(arguments, {})


def test_a_file_that_declares_nonsense_is_not_followed() -> None:
    nonsense = {"bad_words_ids": [3, "x", [], ["y"]], "suppress_tokens": "all", "max_length": "long"}
    found = resolved({}, nonsense)
    assert not found.rules.active
    assert found.max_new_tokens == 256

from __future__ import annotations

import math
from typing import Any

import pytest

from compiler.errors import CheckpointError, ContextError, InputError
from compiler.generation import read
from compiler.runtime.beams import Beams
from compiler.runtime.foreign import NONE, OURS, hint
from compiler.runtime.generation import limit
from compiler.runtime.options import Arguments, Options, resolve
from compiler.runtime.rules import Rules
from compiler.runtime.sampling import Sampling

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


def resolved(arguments: dict[str, Any], declared: dict[str, Any] = DECLARED) -> Options:
    return resolve(arguments, read(declared, CheckpointError, "x"), frozenset({2, 4}))


def test_what_the_checkpoint_declares_is_taken() -> None:
    found = resolved({})
    assert (found.max_new_tokens, found.max_length) == (62, 62)
    assert (limit(1, 100, found), limit(1, 40, found), limit(30, 100, found)) == (61, 39, 32)
    with pytest.raises(ContextError, match=r"62 \(max_length\)"):
        limit(62, 100, found)
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
    fewer = resolved({}, DECLARED | {"max_new_tokens": 9})
    assert (fewer.max_new_tokens, fewer.max_length) == (9, None)


def test_settings_of_drawing_wait_for_a_temperature() -> None:
    drawing = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "typical_p": 0.8, "eta_cutoff": 0.1}
    assert resolved({}, drawing).sampling == Sampling()
    found = resolved({"temperature": 0.5, "top_k": 5}, drawing).sampling
    assert found == Sampling(0.5, 0.9, 5, typical_p=0.8, eta_cutoff=0.1)


def test_a_number_of_new_tokens_takes_the_place_of_the_whole_texts() -> None:
    assert resolved({"min_new_tokens": 0}).rules.min_length == 0
    assert resolved({}, DECLARED | {"min_new_tokens": 3}).rules.min_length == 0


def test_an_answer_has_a_time() -> None:
    assert resolved({}, {"max_time": 0.0}).cancelled
    assert not resolved({}, {"max_time": 60.0}).cancelled


def test_the_rest_of_what_a_checkpoint_may_declare() -> None:
    found = resolved(
        {},
        {
            "stop_strings": ["a", "b"],
            "sequence_bias": [[[7], 5.0], [[8, 9], -1.0], [[7], 2.0]],
            "exponential_decay_length_penalty": [5, 1.1],
            "encoder_repetition_penalty": 1.5,
            "encoder_no_repeat_ngram_size": 2,
            "remove_invalid_values": True,
            "suppress_tokens": [5, -1, 10**12],
        },
    )
    assert found.stops == ("a", "b")
    assert found.rules == Rules(
        sequence_bias=(((7,), 2.0), ((8, 9), -1.0)),
        decay=(5, 1.1),
        encoder_repetition_penalty=1.5,
        encoder_no_repeat_ngram_size=2,
        remove_invalid=True,
        suppressed=(5,),
        ends=(2, 4),
    )
    assert resolved({"stop": "c"}, {"stop_strings": "a"}).stops == ("c",)


def test_what_the_caller_says_comes_first() -> None:
    found = resolved({"beams": 1, "max_new_tokens": 5, "no_repeat_ngram_size": 0, "length_penalty": -1})
    assert (found.beams, found.max_new_tokens) == (Beams(1, -1.0, True), 5)
    assert found.rules.no_repeat_ngram_size == 0


def test_a_checkpoint_without_settings_changes_nothing() -> None:
    found = resolved({}, {})
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


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("num_beams", "give beams"),
        ("stop_strings", "give stop"),
        ("do_sample", "give temperature: tokens are drawn where it is above 0"),
        ("max_length", "give max_new_tokens: it counts the answer's tokens without the prompt's"),
        ("max_tokens", "give max_new_tokens"),
        ("eos_token_id", "the checkpoint's own tokens end an answer"),
        ("bad_words_ids", "what the checkpoint declares for it is followed"),
        ("penalty_alpha", "it is not implemented"),
        ("use_cache", "it changes no answer"),
        ("temprature", 'did you mean "temperature"?'),
    ],
)
def test_other_libraries_names_lead_to_ours(name: str, advice: str) -> None:
    with pytest.raises(InputError, match=f'no argument "{name}"') as caught:
        resolved({name: 3})
    assert advice in caught.value.action


def test_a_hint_names_what_there_is() -> None:
    ours = {*Arguments.__annotations__, "details", "stream"}
    assert {name for name, _ in OURS.values()} <= ours
    assert not ours & (OURS.keys() | NONE.keys())
    assert not OURS.keys() & NONE.keys()
    assert hint("nothing") == ""

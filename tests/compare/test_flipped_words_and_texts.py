"""Flips of single words, and of generated texts: the candidate is the same bundle, taking one token for another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import bundle
from compiler.compare.asked import Item, asking
from compiler.compare.flips import flips
from compiler.compare.tagged import flagged
from compiler.records.comparison import Flips
from compiler.runtime.scores import softmax
from tests.compare.misreading import misreading
from tests.understanding import Case

PLACES = ("london", "paris", "boston", "harbour")
TEXTS = [f"the old captain reached {place} in a {what} ." for place in PLACES for what in ("storm", "night")]
WORDS: list[Item] = [{"words": text.split()} for text in TEXTS]


def tags(model: Any, text: str) -> list[str]:
    """One answer a word, from what the runtime says of tokens; every word here is one token."""
    return [token["entity"] for token in model.classify_tokens(text, ignore=())]


def test_words_whose_answer_differs(case: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.compare.flips.TOKENS", 50)  # all of them
    folder = case("token-classification").bundle
    with asking(folder, bundle.read(folder)) as first:
        second = misreading(first, "storm", "rain")
        found = flips(first, second, WORDS, data="x", include_texts=True)
        expected = {}
        for item, text in enumerate(TEXTS):
            pairs = zip(tags(first.model, text), tags(second.model, text), strict=True)
            expected |= {(item, place): pair for place, pair in enumerate(pairs) if pair[0] != pair[1]}
    assert expected
    assert {(flip.item, flip.place): (flip.baseline, flip.candidate) for flip in found.flips} == expected
    assert (found.items, found.answers) == (len(TEXTS), sum(len(text.split()) for text in TEXTS))
    for flip in found.flips:
        assert flip.swing > 0
        assert flip.text == TEXTS[flip.item]
        assert "storm" in flip.text
        influence = {token.text: token.influence for token in flip.tokens}
        assert influence["storm"] == pytest.approx(flip.swing, abs=1e-4)  # both answer alike once it is hidden


def test_a_word_is_as_suspicious_as_the_worst_of_its_tokens(case: Callable[[str], Case]) -> None:
    folder = case("replaced-token-detection").bundle
    words = ["sailors", "left", "quickly"]  # tokens: sailor s left quick ly
    with asking(folder, bundle.read(folder)) as asked:
        tokens: Any = asked.model.detect_replaced(" ".join(words))
        scores = [token["score"] for token in tokens]
        expected = [max(scores[:2]), scores[2], max(scores[3:])]
        found = flagged(asked, [{"words": words, "place": place} for place in range(3)])
        assert flips(asked, asked, [{"words": words}], data="x").answers == 3
    assert [each["replaced"] for each in found] == pytest.approx(expected, abs=1e-6)
    assert [each["original"] for each in found] == pytest.approx([1 - score for score in expected], abs=1e-6)


def test_a_row_of_a_sample_keeps_its_number(case: Callable[[str], Case]) -> None:
    folder = case("token-classification").bundle
    with asking(folder, bundle.read(folder)) as first:
        second = misreading(first, "storm", "rain")
        plain, found = (flips(first, second, WORDS, rows=rows, data="x") for rows in (None, range(41, 41 + len(WORDS))))
    assert plain.flips
    assert [flip.item for flip in found.flips] == [41 + flip.item for flip in plain.flips]
    assert {flip.text for flip in found.flips} == {None}
    assert {token.text for flip in found.flips for token in flip.tokens} == {None}


PROMPTS: list[Item] = [{"text": text} for text in ("the cat", "the cat q", "on the mat", "a q")]


def parting(folder: Path, word: str, instead: str, prompts: list[Item]) -> Flips:
    """Flips of a bundle against itself with one token misread, compared with what `generate` says."""
    with asking(folder, bundle.read(folder)) as first:
        second = misreading(first, word, instead)
        found = flips(first, second, prompts, data="x")
        shown = flips(first, second, prompts, data="x", include_texts=True)
        texts = [item["text"] for item in prompts]
        answers = [each.model.generate(texts, details="logits", beams=1, max_new_tokens=64) for each in (first, second)]
        spelled = first.text.tokenizer
    expected = {}
    for item, (one, other) in enumerate(zip(*answers, strict=True)):
        places = [at for at, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=False)) if a != b]
        if places:
            expected[item] = places[0]
    assert expected
    assert {flip.item: flip.place for flip in found.flips} == expected
    for flip, full in zip(found.flips, shown.flips, strict=True):
        place = expected[flip.item]
        chosen = [each[flip.item].tokens[place] for each in answers]
        assert (flip.baseline, flip.candidate) == tuple(f"token {token}" for token in chosen)
        assert (full.baseline, full.candidate) == tuple(each[flip.item].text for each in answers)
        assert (flip.text, full.text) == (None, texts[flip.item])
        chances = [softmax(np.asarray(each[flip.item].logits)[place])[chosen] for each in answers]
        assert flip.baseline_margin == pytest.approx(chances[0][0] - chances[0][1], abs=1e-4)
        assert flip.candidate_margin == pytest.approx(chances[1][1] - chances[1][0], abs=1e-4)
        assert {token.text for token in flip.tokens} == {None}
        assert all(token.text in texts[flip.item] for token in full.tokens if token.text)
    assert (found.items, found.answers) == (len(prompts), len(prompts))
    assert spelled.token_to_id(word) != spelled.token_to_id(instead)
    return shown


def test_texts_part_at_a_token(decoder_bundle: Path) -> None:
    found = parting(decoder_bundle, "q", "c", PROMPTS)
    strange = [flip for flip in found.flips if "q" in str(flip.text)]
    assert strange
    for flip in strange:  # without its letter, the candidate reads what the baseline reads
        influence = {token.text: token.influence for token in flip.tokens}
        assert influence["q"] == pytest.approx(flip.swing, abs=1e-3)


def test_answers_of_an_encoder_decoder(translator_bundle: Path) -> None:
    with asking(translator_bundle, bundle.read(translator_bundle)) as asked:
        tokenizer = asked.text.tokenizer
        ids = tokenizer.encode("the cat sat").ids
        word, instead = (tokenizer.id_to_token(token) for token in (ids[0], ids[1]))
    found = parting(translator_bundle, word, instead, [{"text": "the cat sat"}, {"text": "cat the"}])
    assert found.flips[0].tokens

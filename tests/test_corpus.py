from __future__ import annotations

from compiler.corpus import calibration_text, evaluation_text


def paragraphs(texts: list[str]) -> set[str]:
    return {paragraph for text in texts for paragraph in text.split("\n\n")}


def test_both_halves_hold_enough_text() -> None:
    for texts in (calibration_text(), evaluation_text()):
        assert sum(len(text) for text in texts) > 100_000


def test_no_paragraph_is_in_both_halves() -> None:
    assert not paragraphs(calibration_text()) & paragraphs(evaluation_text())


def test_callers_get_a_list_of_their_own() -> None:
    calibration_text().clear()
    assert calibration_text()

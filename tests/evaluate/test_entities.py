from __future__ import annotations

import pytest

from compiler.evaluate.entities import spans


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-PER I-PER O B-LOC", {((1, 3), "PER"), ((4, 5), "LOC")}),
        ("B-PER B-PER I-PER", {((0, 1), "PER"), ((1, 3), "PER")}),
        ("B-PER I-LOC", {((0, 1), "PER"), ((1, 2), "LOC")}),
        ("O I-LOC I-LOC", {((1, 3), "LOC")}),
        ("S-PER B-LOC I-LOC E-LOC B-LOC", {((0, 1), "PER"), ((1, 4), "LOC"), ((4, 5), "LOC")}),
        ("U-PER B-LOC L-LOC I-LOC", {((0, 1), "PER"), ((1, 3), "LOC"), ((3, 4), "LOC")}),
        ("MISC MISC O PER", {((0, 2), "MISC"), ((3, 4), "PER")}),
        ("O O", set()),
    ],
)
def test_entities_of_every_scheme(tags: str, expected: set) -> None:
    assert spans(tags.split()) == expected


def test_a_type_with_a_dash_is_kept_whole() -> None:
    assert spans(["B-work-of-art", "I-work-of-art", "e-mail"]) == {((0, 2), "work-of-art"), ((2, 3), "e-mail")}

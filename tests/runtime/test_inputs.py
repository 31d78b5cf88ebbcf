from __future__ import annotations

from typing import Any

import pytest

from compiler.errors import InputError
from compiler.runtime.inputs import as_count, as_list, as_text, as_texts, shown


def test_a_text_or_a_list_of_them() -> None:
    assert as_texts("a", "x()") == (["a"], True)
    assert as_texts(("a", "b"), "x()") == (["a", "b"], False)
    assert as_list([], "x()") == []
    assert as_text("", "a") == ""


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a", "a single str"),
        (b"a", "int at 0"),
        (None, "a single NoneType"),
        ({"a"}, "a single set"),
        (["a", 1], "int at 1"),
    ],
)
def test_what_is_no_list_of_texts(value: Any, found: str) -> None:
    with pytest.raises(InputError) as caught:
        as_list(value, "x()")
    assert (caught.value.subject, caught.value.found) == ("x() takes a list of texts", found)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
def test_what_is_no_count(value: Any) -> None:
    assert as_count(1, "top_k") == 1
    with pytest.raises(InputError, match="top_k"):
        as_count(value, "top_k")


def test_a_long_text_is_not_shown_whole() -> None:
    assert shown("ab") == "'ab'"
    assert len(shown("a" * 1000)) < 100

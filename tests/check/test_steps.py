"""What a check says of how far it has come."""

from __future__ import annotations

from compiler.check.steps import about, counted, step, telling


def test_steps_are_told_with_their_number_and_their_subject() -> None:
    told: list[tuple[str, int, int]] = []
    step("nobody hears this")
    with telling(lambda *said: told.append(said)):
        assert list(counted("ab", "letters")) == ["a", "b"]
        with about('adapter "law"'):
            step("one alone")
        step("after it")
    step("nor this")
    assert told == [("letters", 0, 2), ("letters", 1, 2), ('adapter "law": one alone', 0, 0), ("after it", 0, 0)]


def test_an_item_is_told_of_before_it_is_used() -> None:
    told: list[int] = []
    with telling(lambda _message, done, _total: told.append(done)):
        for item in counted([0, 1, 2], "numbers"):
            assert told == list(range(item + 1))

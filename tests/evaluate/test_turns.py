from __future__ import annotations

from typing import Any, cast

from compiler.evaluate.evidence import Done, Evidence, Timed, parts


def test_parts_cover_every_item_once() -> None:
    for count in (1, 7, 8, 9, 81, 1000):
        found = [item for part in parts(count) for item in range(count)[part]]
        assert found == list(range(count))
        assert len(parts(count)) <= 10


def test_systems_take_turns_and_each_part_is_done_once() -> None:
    turns: list[tuple[str, int]] = []
    unused = cast("Any", None)
    sides = [Evidence(cast("Any", name), unused, unused, unused, [{}] * 20, unused) for name in "ab"]
    for side in sides:
        side.beside = sides

    def work(side: Evidence, part: slice) -> Done:
        turns.append((str(side.system), part.start))
        return Done([part.start], Timed(1, 1, 1.0))

    first = sides[0]._all(work)
    assert turns == [("a", 0), ("b", 0), ("b", 8), ("a", 8), ("a", 16), ("b", 16)]
    assert sides[1]._all(work) == first
    assert len(turns) == 6
    alone = sides[0].on([{}])
    assert len(alone._all(work)) == 1
    assert turns[6:] == [("a", 0)]

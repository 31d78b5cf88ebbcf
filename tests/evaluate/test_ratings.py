from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compiler.errors import InputError
from compiler.evaluate import human, ratings
from compiler.evaluate.ratings import CRITERIA, Key, Rating, Ratings

PROMPTS = [f"prompt {index}" for index in range(12)]
A, B = ([f"{side} answers {index} </script><b>" for index in range(12)] for side in ("first", "second"))


class Scripts(HTMLParser):
    """Everything that stands in scripts, and every address the page names."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = ""
        self.found: dict[str, str] = {}
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag == "script":
            self.inside = named.get("type") or "javascript"
        self.addresses += [value or "" for name, value in attributes if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == "script" else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[self.inside] = self.found.get(self.inside, "") + data


def content(page: str) -> dict[str, Any]:
    parser = Scripts()
    parser.feed(page)
    assert set(parser.found) == {"application/json", "javascript"}
    assert parser.addresses == ["data:,"]
    return dict(json.loads(parser.found["application/json"]))


def page(seed: int = 0) -> str:
    return human.page(PROMPTS, A, B, ("bundles/one", "bundles/two"), seed)


def test_the_page_is_blind_random_and_whole() -> None:
    text = page()
    found = content(text)
    assert "bundles/one" not in text
    assert not re.search(r"https?://", text)
    pairs = found["pairs"]
    asked = [pair["prompt"] for pair in pairs]
    assert sorted(asked) == sorted(PROMPTS) != asked
    for pair in pairs:
        row = PROMPTS.index(pair["prompt"])
        assert {pair["left"], pair["right"]} == {A[row], B[row]}
    assert 0 < sum(pair["left"].startswith("first") for pair in pairs) < len(pairs)
    assert page() == text != page(seed=1)
    assert found["criteria"] == list(CRITERIA)


def exported(text: str, rater: str, prefer: str, cautious: bool = False) -> Ratings:
    """What somebody exports who always prefers the answers that begin with `prefer`."""
    found = content(text)
    left, right = (2, 4) if cautious else (1, 5)
    values = [left if pair["left"].startswith(prefer) else right for pair in found["pairs"]]
    given = [
        Rating(item=item, criterion=criterion, value=value)
        for item, value in enumerate(values)
        for criterion in CRITERIA
    ]
    return Ratings(page=found["page"], rater=rater, sealed=found["sealed"], ratings=tuple(given))


def test_ratings_find_the_side_that_was_preferred(tmp_path: Path) -> None:
    path = tmp_path / "ratings.json"
    path.write_bytes(msgspec.json.encode(exported(page(), "anna", "first")))
    counted = ratings.count([ratings.read(path)])
    assert (counted.a, counted.b, counted.raters, counted.items) == ("bundles/one", "bundles/two", 1, 12)
    assert [each.criterion for each in counted.criteria] == list(CRITERIA)
    for each in counted.criteria:
        assert (each.win_rate, each.wins, each.losses, each.ties, each.agreement) == (1, 12, 0, 0, None)
        assert 0.7 < each.low < each.high == 1


def test_raters_who_agree_and_raters_who_do_not() -> None:
    text = page()
    (one, *_) = ratings.count([exported(text, "anna", "first"), exported(text, "ben", "second")]).criteria
    assert (one.win_rate, one.wins, one.losses) == (0.5, 12, 12)
    assert one.agreement is not None
    assert one.agreement < 0
    (one, *_) = ratings.count([exported(text, "anna", "second"), exported(text, "ben", "second", True)]).criteria
    assert (one.win_rate, one.losses) == (0, 24)


def test_alpha_of_a_published_example() -> None:
    """Four observers and twelve units, with gaps: 0.849 for intervals (Krippendorff 2011)."""
    units = [
        [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4], [1, 1, 2, 1],
        [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
    ]  # fmt: skip
    assert ratings.alpha(units) == pytest.approx(0.849, abs=5e-4)
    assert ratings.alpha([[1], [2]]) is None
    assert ratings.alpha([[2, 2], [2, 2]]) == 1


def change(found: Ratings, **fields: Any) -> Ratings:
    return msgspec.structs.replace(found, **fields)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    one = exported(page(), "anna", "first")
    with pytest.raises(InputError, match="different pages"):
        ratings.count([one, exported(page(seed=1), "ben", "first")])
    with pytest.raises(InputError, match="a rater comes twice"):
        ratings.count([one, one])
    with pytest.raises(InputError, match="nothing was rated"):
        ratings.count([change(one, ratings=())])
    with pytest.raises(InputError, match="no prompt 12"):
        ratings.count([change(one, ratings=(Rating(item=12, criterion="grammar", value=1),))])
    for sealed in ("!!", "00000", ratings.seal(Key(a="a", b="b", a_is_left=()))[::-1], "ä"):
        with pytest.raises(InputError, match="key is damaged"):
            ratings.count([change(one, sealed=sealed)])
    path = tmp_path / "ratings.json"
    path.write_bytes(msgspec.json.encode(change(one, ratings=(Rating(item=0, criterion="grammar", value=6),))))
    with pytest.raises(InputError, match="grammar: 6"):
        ratings.read(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="missing required field `page`"):
        ratings.read(path)
    with pytest.raises(InputError, match="no such file"):
        ratings.read(tmp_path / "none.json")

"""What people preferred: the files that a comparison page exported, counted."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from compiler.errors import InputError
from compiler.reading import parse_strict, read_bytes
from compiler.records import Record
from compiler.statistics import interval

CRITERIA = ("coherence", "informativeness", "grammar")
SAME = 3  # of 1 (left is much better) to 5 (right is much better)


class Key(Record, frozen=True):
    """Which bundle stood where: for each prompt, whether A was on the left."""

    a: str
    b: str
    a_is_left: tuple[bool, ...]


class Rating(Record, frozen=True):
    """`value` is 1 (left is much better) to 5 (right is much better)."""

    item: int
    criterion: str
    value: int


class Ratings(Record, frozen=True):
    """One rater's export. `page` identifies the page, `sealed` is its `Key`, which the page shows nobody."""

    page: str
    rater: str
    sealed: str
    ratings: tuple[Rating, ...]


class Criterion(Record, frozen=True):
    """How often A won on one criterion, over all raters.

    A tie is half a win. The interval is Wilson's score interval at 95 %, with as many trials as there are prompts:
    several ratings of one prompt are not independent. `agreement` is Krippendorff's alpha for intervals (None with
    fewer than two ratings of any prompt): 1 is perfect, 0 is chance.
    """

    criterion: str
    win_rate: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    prompts: int
    agreement: float | None


class Counted(Record, frozen=True):
    """All raters together."""

    a: str
    b: str
    raters: int
    items: int
    criteria: tuple[Criterion, ...]


EXPORTED = "what a page of `compile eval --human` exported"


def seal(key: Key) -> str:
    """The key in a form that gives nothing away to somebody who reads the page."""
    return base64.b85encode(msgspec.json.encode(key)[::-1]).decode()


def read(path: Path) -> Ratings:
    """Raises InputError for a file that no page exported."""
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file", expected=EXPORTED)
    found: Ratings = parse_strict(read_bytes(path, InputError), Ratings, InputError, str(path), expected=EXPORTED)
    for each in found.ratings:
        if each.criterion not in CRITERIA or not 1 <= each.value <= 5:
            raise InputError(f"{path}: not a rating", found=f"{each.criterion}: {each.value}", expected="1 to 5")
    return found


def count(files: Sequence[Ratings]) -> Counted:
    """Win rates and agreement.

    Raises:
        InputError: the files are of different pages, of one rater twice, or without a rating.
    """
    if len({(each.page, each.sealed) for each in files}) != 1:
        raise InputError("the ratings are of different pages", expected="exports of one page")
    names = [each.rater for each in files]
    if len(set(names)) != len(names):
        raise InputError("a rater comes twice", found=", ".join(sorted(names)), expected="one file for each rater")
    key = _unsealed(files[0].sealed)
    given: dict[str, dict[int, dict[str, int]]] = {criterion: {} for criterion in CRITERIA}
    for each in files:
        for rating in each.ratings:
            if not 0 <= rating.item < len(key.a_is_left):
                raise InputError(f"{each.rater}: the page has no prompt {rating.item}", expected="one of its own")
            value = rating.value if key.a_is_left[rating.item] else 2 * SAME - rating.value
            given[rating.criterion].setdefault(rating.item, {})[each.rater] = value
    if not any(given.values()):
        raise InputError("nothing was rated", expected="one rating or more")
    return Counted(
        a=key.a,
        b=key.b,
        raters=len(files),
        items=len(key.a_is_left),
        criteria=tuple(_counted(criterion, rated) for criterion, rated in given.items() if rated),
    )


def alpha(units: Sequence[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for intervals (Krippendorff, Content Analysis, chapter on reliability).

    Args:
        units: what each unit was rated by those who rated it; units of one rating say nothing.

    Returns:
        1 less observed over expected disagreement; None where nothing can be compared, 1 where all values are equal.
    """
    paired = [unit for unit in units if len(unit) > 1]
    values = [value for unit in paired for value in unit]
    if not values:
        return None
    observed = sum(
        2 * sum((one - other) ** 2 for one, other in itertools.combinations(unit, 2)) / (len(unit) - 1)
        for unit in paired
    ) / len(values)
    pairs = len(values) * (len(values) - 1)
    expected = 2 * sum((one - other) ** 2 for one, other in itertools.combinations(values, 2)) / pairs
    return 1 - observed / expected if expected else 1.0


def _counted(criterion: str, rated: Mapping[int, Mapping[str, int]]) -> Criterion:
    values = [value for item in rated.values() for value in item.values()]
    wins, losses = (sum(map(better, values)) for better in (lambda v: v < SAME, lambda v: v > SAME))
    ties = len(values) - wins - losses
    rate = (wins + ties / 2) / len(values)
    low, high = interval(rate * len(rated), len(rated))
    return Criterion(
        criterion=criterion,
        win_rate=rate,
        low=low,
        high=high,
        wins=wins,
        losses=losses,
        ties=ties,
        prompts=len(rated),
        agreement=alpha([list(item.values()) for item in rated.values()]),
    )


def _unsealed(sealed: str) -> Key:
    try:
        return msgspec.json.decode(base64.b85decode(sealed)[::-1], type=Key)
    except (ValueError, RecursionError) as error:
        raise InputError("the ratings' key is damaged", found=str(error), action="export them again") from error

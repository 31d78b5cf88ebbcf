from __future__ import annotations

import numpy as np
import pytest

from compiler.errors import InputError
from compiler.records import Tensor
from compiler.runtime.feeds import FeedCheck

CHECK = FeedCheck(
    (
        Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),
        Tensor(name="attention_mask", dtype="int64", shape=("batch", "sequence")),
        Tensor(name="pixels", dtype="float32", shape=("batch", 3)),
    )
)


def feeds(**changed: object) -> dict[str, np.ndarray]:
    good = {
        "input_ids": np.zeros((2, 5), np.int64),
        "attention_mask": np.ones((2, 5), np.int64),
        "pixels": np.zeros((2, 3), np.float32),
    }
    return good | changed  # type: ignore[operator]


def test_good_feeds_pass_unchanged() -> None:
    given = feeds()
    checked = CHECK(given)
    assert checked == given
    assert all(checked[name] is array for name, array in given.items())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"input_ids": np.zeros((2, 5), np.int32)}, ['"input_ids"', "int32", "int64", "astype"]),
        ({"pixels": np.zeros((2, 3), np.float64)}, ['"pixels"', "float64", "float32"]),
        ({"input_ids": [[1, 2]]}, ['"input_ids"', "list", "numpy array"]),
        ({"input_ids": np.zeros(5, np.int64)}, ["rank", "(5,)", "(batch, sequence)"]),
        ({"pixels": np.zeros((2, 4), np.float32)}, ["shape", "(2, 4)", "(batch, 3)"]),
        ({"attention_mask": np.ones((2, 6), np.int64)}, ['"attention_mask"', '"sequence"', "5 and 6"]),
        ({"pixels": np.zeros((1, 3), np.float32)}, ['"pixels"', '"batch"', "2 and 1"]),
    ],
)
def test_a_wrong_tensor_is_named_with_what_was_expected(changed: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        CHECK(feeds(**changed))
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_name_gets_a_suggestion() -> None:
    given = feeds()
    given["atention_mask"] = given.pop("attention_mask")
    with pytest.raises(InputError, match='did you mean "attention_mask"'):
        CHECK(given)


def test_missing_and_no_inputs() -> None:
    given = feeds()
    del given["pixels"]
    with pytest.raises(InputError, match="missing input pixels"):
        CHECK(given)
    with pytest.raises(InputError, match="missing input input_ids, attention_mask, pixels"):
        CHECK({})


def test_inputs_that_are_no_dict() -> None:
    for given in (None, 5, [np.zeros((1, 1), np.int64)]):
        with pytest.raises(InputError, match=type(given).__name__):
            CHECK(given)  # type: ignore[arg-type]


IDS = FeedCheck(
    tuple(
        Tensor(name=name, dtype="int64", shape=("batch", name))
        for name in ("input_ids", "token_type_ids", "attention_mask")
    ),
    rows=7,
)


def ids(tokens: object, types: object = ((0, 1),), mask: object = ((1, 0),)) -> dict[str, np.ndarray]:
    given = zip(("input_ids", "token_type_ids", "attention_mask"), (tokens, types, mask), strict=True)
    return {name: np.array(value, np.int64) for name, value in given}


def test_tokens_of_the_table_pass() -> None:
    IDS(ids([[0, 6, 3]]))
    IDS(ids(np.zeros((1, 0))))
    CHECK(feeds(input_ids=np.full((2, 5), 10**12)))  # a bundle that does not say how many it has


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (ids([[1, -1]]), ["input_ids", "-1", "0 to 6", "7 tokens"]),
        (ids([[1, 7]]), ["input_ids", "7", "0 to 6", "7 tokens"]),
        (ids([[1, 2]], types=[[-1]]), ["token_type_ids", "-1", "0 or more"]),
    ],
)
def test_a_token_that_the_table_has_not_is_named(changed: dict[str, np.ndarray], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        IDS(changed)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("mask", "row"), [([[1, 0], [0, 0]], "row 1"), ([[0]], "row 0"), (np.zeros((1, 0)), "row 0"), ([[0, 0]], "row 0")]
)
def test_a_row_without_a_token_is_named(mask: object, row: str) -> None:
    with pytest.raises(InputError, match=f"attention_mask.*{row} has no token"):
        FeedCheck((Tensor(name="attention_mask", dtype="int64", shape=("batch", "sequence")),))(
            {"attention_mask": np.array(mask, np.int64)}
        )


def test_a_choice_without_a_token_is_named() -> None:
    mask = np.ones((2, 3, 4), np.int64)
    mask[1, 2] = 0
    with pytest.raises(InputError, match="row 1, 2 has no token"):
        FeedCheck((Tensor(name="attention_mask", dtype="int64", shape=("batch", "choices", "sequence")),))(
            {"attention_mask": mask}
        )

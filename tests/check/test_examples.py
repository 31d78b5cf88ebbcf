"""What each task is asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from compiler.check.examples import BATCH, CHOICES, LENGTHS, Examples
from compiler.check.feeds import Text
from compiler.checkpoint.marks import Marks
from compiler.records import Padding, Tensor
from compiler.tasks import TASKS
from tests.check.toy import TEXT, manifest
from tests.models import CONTEXT, write_tokenizer

TYPES = Tensor(name="token_type_ids", dtype="int64", shape=("batch", "sequence"))


def asked(folder: Path, task: str, *, types: bool = True, padding: Padding = "hidden", **config: object) -> Examples:
    write_tokenizer(folder, bos=True)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    about = replace(manifest("encoder", task=task), padding=padding)
    about = replace(about, inputs=(*about.inputs, TYPES) if types else about.inputs)
    return Examples(about, Text([TEXT], folder / "tokenizer.json", Marks()))


@pytest.mark.parametrize("task", [task for task, row in TASKS.items() if row.kind == "encoder"])
def test_a_batch_is_its_texts_alone(task: str, tmp_path: Path) -> None:
    found = asked(tmp_path, task)
    first, single = found.batch(0), found.alone()
    assert len(single) == len(first["input_ids"]) == BATCH
    for row, alone in enumerate(single):
        length = alone["input_ids"].shape[-1]
        for name, array in alone.items():
            np.testing.assert_array_equal(array[0], first[name][row, ..., :length])
        assert not first["attention_mask"][row, ..., length:].any()
    lengths = first["attention_mask"].sum(axis=-1)
    assert len(np.unique(lengths)) > 2, "rows are padded"


@pytest.mark.parametrize(
    ("task", "share"),
    [
        ("next-sentence-prediction", 1.0),
        ("question-answering", 1.0),
        ("multiple-choice", 1.0),
        ("text-classification", 0.5),
        ("feature-extraction", 0.25),
        ("replaced-token-detection", 0.25),
    ],
)
def test_so_many_texts_are_pairs(task: str, share: float, tmp_path: Path) -> None:
    types = asked(tmp_path, task).batch(0)["token_type_ids"]
    assert (types.reshape(-1, types.shape[-1]).any(axis=1)).mean() == share


def test_models_that_tell_no_texts_apart_get_pairs_where_the_task_has_them(tmp_path: Path) -> None:
    plain, paired = (asked(tmp_path, task, types=False) for task in ("feature-extraction", "text-classification"))
    assert "token_type_ids" not in plain.batch(0)
    assert plain.batches == 1
    assert paired.batches == 4, "one answer a text: more texts"


def test_choices_are_an_axis(tmp_path: Path) -> None:
    found = asked(tmp_path, "multiple-choice")
    assert found.batch(0)["input_ids"].shape[:2] == (BATCH, CHOICES)
    assert found.longest()["input_ids"].shape[:2] == (1, CHOICES)


def test_a_model_that_finds_the_end_by_padding_it_has_not_gets_equal_texts(tmp_path: Path) -> None:
    found = asked(tmp_path, "text-classification", pad_token_id=None, model_type="gpt2")
    batches = [found.batch(number) for number in range(4)]
    assert all(feed["attention_mask"].all() for feed in [*batches, *found.alone(), found.longest()])
    assert len({feed["input_ids"].shape[1] for feed in batches}) > 1
    unequal = asked(tmp_path, "token-classification", pad_token_id=None, model_type="gpt2")
    assert not unequal.batch(0)["attention_mask"].all()


@pytest.mark.parametrize("task", [task for task, row in TASKS.items() if row.kind == "encoder"])
def test_where_padding_changes_answers_no_text_is_padded(task: str, tmp_path: Path) -> None:
    """Pairs have a shortest length, which the other texts of their batch then have too."""
    found = asked(tmp_path, task, padding="changes answers")
    batches, alone = [found.batch(number) for number in range(found.batches)], found.alone()
    others = [feed for feeds in found.company() for feed in feeds]
    for feed in [*batches, *alone, *found.rare(), *others, found.longest()]:
        assert feed["attention_mask"].all()
    shortest = Text([TEXT], tmp_path / "tokenizer.json", Marks()).least_pair
    lengths = {min(max(length, shortest), CONTEXT) for length in LENGTHS}
    for feeds in (batches, alone):
        assert {feed["input_ids"].shape[-1] for feed in feeds} == lengths
    for row, feed in enumerate(alone[:BATCH]):
        np.testing.assert_array_equal(feed["input_ids"][0], batches[0]["input_ids"][row])


def test_a_graph_without_a_mask_is_asked_with_one(tmp_path: Path) -> None:
    """The mask tells which of the answers count."""
    write_tokenizer(tmp_path, bos=True)
    about = manifest("encoder")
    about = replace(about, inputs=about.inputs[:1])
    found = Examples(about, Text([TEXT], tmp_path / "tokenizer.json", Marks()))
    assert set(found.batch(0)) == {"input_ids", "attention_mask"}

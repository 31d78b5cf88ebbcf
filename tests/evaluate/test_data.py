from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from compiler.errors import InputError, UsageError
from compiler.evaluate.columns import bind
from compiler.evaluate.data import digest, read, sample, text_lines
from compiler.evaluate.labels import Answers

CLASSES = Answers("text-classification", ("calm", "stormy"), "single", "[MASK]")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_of_every_kind_of_file(tmp_path: Path) -> None:
    expected = [{"text": 'says "hi",\nand goes', "label": "calm"}, {"text": "again", "label": "stormy"}]
    lines = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n\n" for row in expected))
    table = write(tmp_path / "a.csv", 'text,label\n"says ""hi"",\nand goes",calm\nagain,stormy\n')
    assert read(lines) == read(table) == expected
    assert read(write(tmp_path / "a.tsv", "text\tlabel\nagain\tstormy\n")) == expected[1:]
    assert digest(read(lines)) == digest([dict(reversed(row.items())) for row in expected])
    assert digest(read(lines)) != digest(expected[::-1])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "no rows"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.jsonl", '{"text": 1}\n{', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1"),
        ("a.csv", "text,label\na,b,c\n", "line 2: not as many cells"),
        ("a.csv", "text,label\na\n", "line 2: not as many cells"),
        ("a.parquet", "x", "an unknown kind of file"),
    ],
)
def test_files_that_are_not_data(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / name, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8"):
        read(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="no lines"):
        text_lines(write(tmp_path / "a.txt", " \n"))


def saved(folder: Path) -> Path:
    folder.mkdir()
    (folder / "data-00000-of-00001.arrow").write_bytes(b"")
    write(folder / "state.json", json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    return folder


def test_a_datasets_folder_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="pip install pyarrow"):
        read(saved(tmp_path / "set"))


def test_a_folder_of_splits_names_them(tmp_path: Path) -> None:
    saved(tmp_path / "test")
    with pytest.raises(InputError, match=r"name a split: .*test"):
        read(tmp_path)


def test_a_sample_keeps_the_order_and_follows_the_seed() -> None:
    rows: list[dict[str, Any]] = [{"row": index} for index in range(50)]
    drawn = sample(rows, 10, 1)
    assert drawn == sample(rows, 10, 1) != sample(rows, 10, 2)
    assert [row["row"] for row in drawn.values()] == list(drawn) == sorted(drawn)
    assert len(drawn) == 10
    assert list(sample(rows, 100, 1).values()) == rows


def classes(rows: list[dict[str, Any]], named: dict[str, str] | None = None) -> list[dict[str, Any]]:
    return bind("text-classification", dict(enumerate(rows)), named or {}, ["text", "label"], CLASSES)


def test_columns_by_usual_and_given_names() -> None:
    expected = [{"text": "a", "label": "stormy"}]
    assert classes([{"sentence": "a", "label": 1, "other": 2}]) == expected
    assert classes([{"review": "b", "words": "a", "gold": "stormy"}], {"text": "words"}) == expected
    assert classes([{"premise": "a", "hypothesis": "b", "label": "1"}]) == [
        {"text": "a", "pair": "b", "label": "stormy"}
    ]


@pytest.mark.parametrize(
    ("row", "named", "message"),
    [
        ({"words": "a", "label": 1}, {}, r'no column for "text"[\s\S]*--column text=NAME'),
        ({"text": "a"}, {}, 'no column for "label"'),
        ({"text": "a", "lable": 1}, {"label": "label"}, 'did you mean "lable"'),
        ({"text": "a", "label": "stromy"}, {}, r'row 1: "label": the model has no label "stromy"[\s\S]*"stormy"'),
        ({"text": "a", "label": 2}, {}, 'the model has no label "2"'),
        ({"text": "a", "label": None}, {}, 'row 1: "label" is missing'),
        ({"text": 7, "label": 1}, {}, r'row 1: "text" does not fit[\s\S]*a text'),
    ],
)
def test_columns_that_do_not_fit(row: dict[str, Any], named: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        classes([row], named)


def test_a_row_of_a_sample_is_named_by_its_place_in_the_data() -> None:
    with pytest.raises(InputError, match="row 8: "):
        bind("text-classification", {2: {"text": "a"}, 7: {"text": ""}}, {}, ["text"], CLASSES)


def test_an_unknown_role_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match='did you mean "label"'):
        classes([{"text": "a", "label": 1}], {"labels": "label"})


def test_several_labels_and_numbers() -> None:
    several = Answers("text-classification", ("a", "b", "c"), "multiple", "")
    rows = [{"text": "x", "labels": '["c", "a"]'}, {"text": "x", "labels": [1]}, {"text": "x", "labels": []}]
    items = bind("text-classification", dict(enumerate(rows)), {}, ["text", "label"], several)
    assert [item["label"] for item in items] == [("a", "c"), ("b",), ()]
    number = Answers("text-classification", ("LABEL_0",), "number", "")
    (item,) = bind("text-classification", {0: {"text": "x", "score": "0.5"}}, {}, ["text", "label"], number)
    assert item["label"] == 0.5
    with pytest.raises(InputError, match="a number"):
        bind("text-classification", {0: {"text": "x", "score": "nan"}}, {}, ["text", "label"], number)


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("token-classification", {"tokens": ["a", "b"], "tags": ["calm"]}, "1 labels, 2 words"),
        ("fill-mask", {"text": "no gap", "label": "x"}, r"\[MASK\] in one place"),
        ("multiple-choice", {"prompt": "a", "choices": ["b", "c"], "label": 2}, "none of the choices"),
        ("next-sentence-prediction", {"text": "a", "pair": "b", "label": "maybe"}, "true or false"),
        ("question-answering", {"question": "a", "context": "b", "answers": 3}, "does not fit"),
        ("text2text-generation", {"text": "a", "summary": []}, "a text or a list of texts"),
    ],
)
def test_items_that_do_not_fit_their_task(task: str, row: dict[str, Any], message: str) -> None:
    from compiler.evaluate.columns import ROLES

    answers = Answers(task, ("calm", "stormy"), "single", "[MASK]")
    with pytest.raises(InputError, match=message):
        bind(task, {0: row}, {}, list(ROLES[task]), answers)


def test_a_choice_by_its_text_and_answers_of_squad() -> None:
    answers = Answers("multiple-choice", (), "single", "")
    row: dict[str, Any] = {"prompt": "a", "choices": ["b", "c"], "label": "c"}
    (item,) = bind("multiple-choice", {0: row}, {}, ["text", "choices", "label"], answers)
    assert item["label"] == 1
    row = {"question": "q", "context": "c", "answers": {"text": [], "answer_start": []}}
    (item,) = bind("question-answering", {0: row}, {}, ["question", "context", "answers"], answers)
    assert item["answers"] == [""]


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    rows = [{"text": f"row {index}", "label": index, "answers": {"text": ["a", "b"]}} for index in range(5)]
    folder = saved(tmp_path / "set")
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert read(folder) == rows
    (folder / "data-00000-of-00001.arrow").write_bytes(b"not arrow at all")
    with pytest.raises(InputError, match="not a file that `datasets` saved"):
        read(folder)

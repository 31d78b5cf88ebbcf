"""Data, ratings and probes that `compile eval` reads."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as arrow
import pytest

from compiler.errors import InputError
from compiler.evaluate import columns, data, probes, ratings
from compiler.evaluate.labels import Answers
from tests.fuzz.mutate import json_files, line_files, raw
from tests.fuzz.reader import Reader, at

ANSWERS = Answers("", ("negative", "neutral", "positive"), "single", "[MASK]")
ROWS = {
    "text-classification": {"text": "a fine day", "label": "positive"},
    "token-classification": {"tokens": ["a", "fine", "day"], "ner_tags": [0, 1, 2]},
    "question-answering": {"question": "who?", "context": "it was me", "answers": {"text": ["me"], "start": [7]}},
    "fill-mask": {"text": "a [MASK] day", "label": "fine"},
    "feature-extraction": {"sentence1": "a", "sentence2": "b", "score": 3.5},
    "multiple-choice": {"ctx": "a", "endings": ["b", "c"], "label": 1},
    "next-sentence-prediction": {"text": "a", "pair": "b", "label": True},
    "replaced-token-detection": {"words": "a fine day", "tags": [0, 1, 0]},
    "text-generation": {"prompt": "a", "reference": ["b", "c"]},
}
CSV = (
    b'text,label\r\n"a fine, day",positive\r\nrain,0\r\n',
    b'question,context,answers\n"who?","it was me","{""text"": [""me""]}"\n',
    b'tokens,tags\n"[""a"", ""b""]","[0, 1]"\n',
)
SEALED = ratings.seal(ratings.Key(a="one", b="two", a_is_left=(True, False)))
RATINGS = {
    "page": "p",
    "rater": "r",
    "sealed": SEALED,
    "ratings": [{"item": i, "criterion": criterion, "value": 2 + i} for i in (0, 1) for criterion in ratings.CRITERIA],
}
SECRETS = b'{"prefix": "the code is", "secret": "4821"}\nmy name is Ann\nab\n'
CANARIES = b'{"format": "the code is {}", "canary": "4821-ab"}\nthe code is 4821\n'


def _rows(path: Path) -> object:
    """Read as any task would, and as any kind of classifier."""
    rows = dict(enumerate(data.read(path)))
    data.digest(rows.values())
    present = set().union(*rows.values())
    for task, row in ROWS.items():
        if present & set(row):
            with contextlib.suppress(InputError):
                columns.bind(task, rows, {}, columns.ROLES[task], ANSWERS)
    return [columns.bind("text-classification", rows, {}, {"text", "label"}, each) for each in _kinds()]


def _kinds() -> list[Answers]:
    return [Answers("text-classification", ANSWERS.labels, mode, "") for mode in ("single", "multiple", "number")]


def _saved() -> bytes:
    table = arrow.table({"text": ["a fine day", "rain"], "label": [2, 0], "tags": [["a"], []], "score": [0.5, None]})
    stream = io.BytesIO()
    with arrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _dataset(name: str) -> Callable[[Path], Callable[[bytes], object]]:
    """One file of a folder that `datasets` saved."""

    def prepare(folder: Path) -> Callable[[bytes], object]:
        (folder / "data.arrow").write_bytes(_saved())
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))

        def run(content: bytes) -> object:
            (folder / name).write_bytes(content)
            return _rows(folder)

        return run

    return prepare


INPUT = frozenset({2})
READERS = (
    Reader(
        "data.jsonl",
        INPUT,
        line_files(*(f"{json.dumps(row)}\n{json.dumps(row)}\n".encode() for row in ROWS.values())),
        at("data.jsonl", _rows),
    ),
    Reader("data.csv", INPUT, raw(*CSV), at("data.csv", _rows)),
    Reader("data.tsv", INPUT, raw(*(each.replace(b",", b"\t") for each in CSV)), at("data.tsv", _rows)),
    Reader("dataset", INPUT, raw(_saved()), _dataset("data.arrow")),
    Reader(
        "dataset-state", INPUT, json_files(b'{"_data_files": [{"filename": "data.arrow"}]}'), _dataset("state.json")
    ),
    Reader(
        "ratings",
        INPUT,
        json_files(json.dumps(RATINGS).encode()),
        at("ratings.json", lambda path: ratings.count([ratings.read(path)])),
    ),
    Reader("secrets", INPUT, raw(SECRETS), at("secrets", probes.read_secrets)),
    Reader("canaries", INPUT, raw(CANARIES), at("canaries", lambda path: probes.read_canaries(path, 0)), cost=0.5),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_data_is_refused(reader: Reader) -> None:
    reader.check()

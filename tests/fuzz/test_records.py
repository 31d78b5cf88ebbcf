"""Manifests, certificates, baselines, and what reports are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler import bundle, records, report
from compiler.compare import sides
from compiler.errors import CompilerError, IntegrityError
from compiler.records import Built, Checked, Exported, Optimized
from compiler.records.comparison import Baseline
from tests import models
from tests.cli.conftest import certificate
from tests.fuzz.mutate import json_files
from tests.fuzz.reader import Reader, at
from tests.report.reports import COMPARED, DIVERGED, EVALUATED, ONE

DECODER = models.manifest("decoder", (), (), layout="shared")
ENCODER = models.manifest("encoder", (), (), pooling=models.MEAN)
SHOWN = records.encode(ONE.entries[0].certificate)
BASELINE = Baseline(name="b", certificate=certificate(), manifest=ENCODER, precisions={"model": "int8"})
STAGES = (Exported, Optimized, Built, Checked)


def _report(path: Path) -> object:
    """Read beside a certificate, and written in every form."""
    path.with_name("certificate.json").write_bytes(SHOWN)
    found = report.read([path, path.with_name("certificate.json")], include_texts=True)
    return report.html(found), report.markdown(found), report.junit(found)


def _stage(path: Path) -> object:
    for kind in STAGES[:-1]:
        with pytest.raises(records.base.IntegrityError):
            records.load(path, kind)
    return records.load(path, STAGES[-1])


READERS = (
    Reader(
        "manifest",
        frozenset({11}),
        json_files(*map(records.encode, (DECODER, ENCODER))),
        at("manifest.json", lambda path: bundle.read(path.parent)),
    ),
    Reader(
        "comparison",
        frozenset({2, 11}),
        json_files(*map(records.encode, (certificate(), BASELINE))),
        at("side.json", lambda path: sides.of_one_task(sides.read(str(path)), sides.read(str(path)))),
    ),
    Reader(
        "report",
        frozenset({2, 11}),
        json_files(SHOWN, *map(records.encode, (COMPARED, DIVERGED, EVALUATED))),
        at("report.json", _report),
        cost=2,
    ),
    Reader(
        "record",
        frozenset({11}),
        json_files(records.encode(certificate().checked)),
        at("checked.json", _stage),
    ),
)


@pytest.mark.parametrize("end", ["low", "high"])
def test_an_interval_with_one_end_is_refused(end: str, tmp_path: Path) -> None:
    """Found by fuzzing: the page multiplied the other one."""
    tree = json.loads(records.encode(COMPARED))
    verdict = next(each for each in tree["verdicts"] if each["low"] is not None)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(tree))
    _report(path)
    verdict[end] = None
    path.write_text(json.dumps(tree))
    with pytest.raises(CompilerError, match="two ends"):
        _report(path)


@pytest.mark.parametrize(("field", "value"), [("items", 10**12), ("items", 0), ("rows", [1]), ("rows", [1] * 9)])
def test_more_items_than_answers_are_not_counted_to_the_end(field: str, value: object, tmp_path: Path) -> None:
    """Found by fuzzing: the page had a line for every item that the record spoke of."""
    tree = json.loads(records.encode(EVALUATED))
    assert any(system["answers"] for system in tree["systems"])
    tree[field] = value
    path = tmp_path / "report.json"
    path.write_text(json.dumps(tree))
    READERS[2].judge(_report, path)


@pytest.mark.parametrize("value", [-1.0, 1e-320, 1e308])
@pytest.mark.parametrize("field", ["error", "scale", "limit"])
def test_an_error_without_a_place_on_an_axis_is_refused(field: str, value: float, tmp_path: Path) -> None:
    tree = json.loads(records.encode(DIVERGED))
    tree["layers"][0][field] = value
    path = tmp_path / "report.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(IntegrityError, match="nobody measured"):
        _report(path)


@pytest.mark.parametrize("side", ["baseline", "candidate"])
@pytest.mark.parametrize("samples", [[], [[]], [[0.0]], [[-1.0]], [[1e-320]], [[1e308]]], ids=str)
def test_samples_that_cannot_be_drawn_are_refused(samples: list[list[float]], side: str, tmp_path: Path) -> None:
    tree = json.loads(records.encode(COMPARED))
    tree["timings"][0][side] = samples
    path = tmp_path / "report.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(IntegrityError, match="nobody measured"):
        _report(path)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_records_are_refused(reader: Reader) -> None:
    reader.check()

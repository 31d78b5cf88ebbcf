"""Manifests, certificates, baselines, and what reports are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import bundle, records, report
from compiler.compare import sides
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
        cost=20,
    ),
    Reader(
        "record",
        frozenset({11}),
        json_files(records.encode(certificate().checked)),
        at("checked.json", _stage),
    ),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_records_are_refused(reader: Reader) -> None:
    reader.check()

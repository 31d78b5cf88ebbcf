"""A bundle that answers with something else than its certificate is of says so, once."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import msgspec
import onnxruntime
import pytest

from compiler import machine
from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
from compiler.records import Machine
from compiler.runtime import ElsewhereWarning, elsewhere, load
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def forgotten() -> None:
    elsewhere._warn_once.cache_clear()


HERE = machine.detect()


def without(*features: str) -> Machine:
    """This machine, less some features."""
    return msgspec.structs.replace(HERE, features=tuple(each for each in HERE.features if each not in features))


def test_where_it_was_certified_nothing_is_said(decoder_bundle: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(decoder_bundle).close()


def test_another_kind_of_processor(decoder_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = without(sorted(machine.KERNELS & set(HERE.features))[-1])
    monkeypatch.setattr(machine, "detect", lambda: there)
    with pytest.warns(ElsewhereWarning) as caught:
        load(decoder_bundle).close()
    (said,) = caught
    assert machine.kind(HERE) in str(said.message)
    assert machine.kind(there) in str(said.message)
    assert "compile check" in str(said.message)
    assert said.filename == __file__


def test_a_feature_that_no_kernel_asks_for_is_none(decoder_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "detect", lambda: without("f16c"))
    load(decoder_bundle).close()


def test_another_version_of_the_engine(decoder_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certified = onnxruntime_cpu.version()
    monkeypatch.setattr(onnxruntime, "__version__", "1.99.0")
    with pytest.warns(ElsewhereWarning, match=rf"onnxruntime-cpu 1\.99\.0 here, certified with .*{certified}"):
        load(decoder_bundle).close()


def test_an_application_sees_it_once(decoder_bundle: Path) -> None:
    code = f"""
import msgspec, compiler
from compiler import machine
here = machine.detect()
machine.detect = lambda: msgspec.structs.replace(here, features=())
for _ in range(3):
    compiler.load({str(decoder_bundle)!r}).close()
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stderr.count("ElsewhereWarning") == 1

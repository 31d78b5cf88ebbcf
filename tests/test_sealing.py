"""A bundle certified anew: a certificate of this machine, and the same files."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import msgspec
import pytest

import compiler
from compiler import bundle, machine, pipeline, records
from compiler.records import Certificate, Checked, Finding
from compiler.runtime import ElsewhereWarning, elsewhere
from compiler.stages import seal
from tests.conftest import Compile


@pytest.fixture
def foreign(decoder_bundle: Path, tmp_path: Path) -> Path:
    """The tiny Llama's bundle as if another kind of machine had certified and measured it."""
    folder = Path(shutil.copytree(decoder_bundle, tmp_path / "bundle"))
    certificate = records.load(folder / bundle.CERTIFICATE, Certificate)
    there = msgspec.structs.replace(certificate.machine, cpu="another", features=())
    records.save(msgspec.structs.replace(certificate, machine=there), folder / bundle.CERTIFICATE)
    bundle.seal(folder, bundle.read(folder))
    elsewhere._warn_once.cache_clear()
    return folder


def test_a_bundle_is_certified_anew_where_it_is(foreign: Path, tiny_decoder: Path) -> None:
    before, manifest = bundle.digest_of(foreign), bundle.read(foreign)
    with pytest.warns(ElsewhereWarning):
        compiler.load(foreign).close()
    checked = pipeline.check(foreign, reference=str(tiny_decoder), seal=True)
    after = bundle.verify(foreign)
    assert bundle.digest_of(foreign) != before
    changed = {name for name in manifest.files if manifest.files[name] != after.files[name]}
    assert changed == {bundle.CERTIFICATE, "report.html"}
    certificate = records.load(foreign / bundle.CERTIFICATE, Certificate)
    assert certificate.machine == machine.detect()
    assert certificate.checked == checked
    assert certificate.verdict == "pass"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiler.load(foreign).close()


def test_what_fails_here_is_sealed_as_failed(foreign: Path, tiny_decoder: Path, compile_: Compile) -> None:
    words = ("check", foreign, "--reference", tiny_decoder, "--budget", "max_kl_divergence=0")
    assert compile_(*words).returncode == 8
    assert records.load(foreign / bundle.CERTIFICATE, Certificate).verdict == "pass"
    ended = compile_(*words, "--seal")
    assert ended.returncode == 8
    assert f"sealed: {bundle.digest_of(foreign)}" in ended.stdout
    assert records.load(foreign / bundle.CERTIFICATE, Certificate).verdict == "fail"


def test_the_digest_is_printed_and_asked_for(foreign: Path, compile_: Compile) -> None:
    digest = bundle.digest_of(foreign)
    assert digest in compile_("inspect", foreign).stdout
    words = ("run", foreign, "the cat", "--max-new-tokens", 2, "--digest")
    assert compile_(*words, digest).returncode == 0
    refused = compile_(*words, f"sha256:{'0' * 64}")
    assert refused.returncode == 11
    assert digest in refused.stderr


@pytest.mark.parametrize(
    ("precision", "advice"),
    [("float32", "report it with the model's config.json"), ("int8-dynamic", "choose a finer --precision")],
)
def test_no_finer_precision_than_float32_is_proposed(precision: str, advice: str) -> None:
    finding = Finding(name="output.max_abs_error", value=0.5, unit="absolute", samples=9, better="lower", limit=0.1)
    reasons = ("output.max_abs_error",)
    checked = Checked(precision=precision, findings=(finding,), reasons=reasons, noise=0.0, seconds=0.0)
    assert advice in seal.outside("artifacts/x", checked).action

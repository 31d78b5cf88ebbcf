from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.bundle import CERTIFICATE
from compiler.compare import Gates, compare, read, save_baseline
from compiler.compare.changes import changes
from compiler.errors import IntegrityError, UsageError


def test_a_baseline_tells_what_its_bundle_told(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_baseline("v1", classifier)
    assert path == Path("artifacts/baselines/v1.json")
    bundle, saved = read(str(classifier)), read("v1")
    assert saved == read(str(path))
    assert saved.side.kind == "baseline"
    assert saved.folder is None
    assert (saved.manifest, saved.certificate, saved.precisions, saved.digest) == (
        bundle.manifest,
        bundle.certificate,
        bundle.precisions,
        bundle.digest,
    )
    assert changes(saved, bundle) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved["certificate"]["budget"].update(min_cosine=0.5),
        lambda saved: saved["certificate"].update(verdict="pass", reasons=[], task="fill-mask"),
        lambda saved: saved["manifest"]["files"].pop("config.json"),
        lambda saved: saved["precisions"].clear(),
        lambda saved: saved.update(name="v2"),
        lambda saved: saved.update(bundle="0" * 64),
        lambda saved: saved.update(digest="0" * 64),
    ],
)
def test_a_baseline_that_was_changed_is_refused(
    classifier: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    path = save_baseline(str(tmp_path / "v1.json"), classifier)
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved))  # laid out in another way, it says the same
    assert read(str(path)).side.sealed
    change(saved)
    path.write_text(json.dumps(saved))
    with pytest.raises(IntegrityError, match="was changed since it was saved"):
        read(str(path))


def test_a_baseline_of_before_there_was_a_digest(classifier: Path, tmp_path: Path) -> None:
    path = save_baseline(str(tmp_path / "v1.json"), classifier)
    saved = json.loads(path.read_text())
    del saved["digest"], saved["bundle"]
    path.write_text(json.dumps(saved))
    side = read(str(path))
    assert side.digest == read(str(classifier)).digest
    assert side.side.notes == [f"{path} was saved without a digest: nothing shows whether it was changed"]


def test_a_lone_certificate(classifier: Path) -> None:
    side = read(str(classifier / CERTIFICATE))
    assert (side.side.kind, side.manifest, side.digest) == ("certificate", None, "")
    assert side.precisions  # of the modules that the placement names
    compared = compare(side, read(str(classifier)), Gates(), with_latency=False)
    assert compared.verdict == "pass"
    assert "parity" in {verdict.subject for verdict in compared.verdicts}


def test_an_unknown_name_suggests_a_saved_one(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="none is saved"):
        read("release-1")
    save_baseline("release-1", classifier)
    with pytest.raises(UsageError, match='did you mean "release-1"'):
        read("release-l")


@pytest.mark.parametrize("name", ["../elsewhere", ".hidden", "a/b"])
def test_a_name_that_leads_elsewhere(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no name for a baseline"):
        save_baseline(name, classifier)


def test_a_changed_bundle_is_refused(classifier: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(classifier, copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"changed: config\.json"):
        read(str(copy))


@pytest.mark.parametrize("text", ["", "[1]", "{}", json.dumps({"manifest": {}})])
def test_a_file_that_is_neither(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(IntegrityError):
        read(str(path))

"""A bundle of before `padding` was recorded: nothing is known of its padding, so none is made, and that is said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from compiler import bundle
from compiler.cli import inspect
from compiler.engines import Session
from compiler.runtime import OlderBundleWarning, load, older
from tests import models

TEXTS = ["ban", "ban del fir", "del", "", "fir ban"]


def aged(source: Path, folder: Path) -> Path:
    """The same bundle as a version without the field sealed it."""
    copytree(source, folder)
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    assert manifest.pop("padding") == "hidden"
    content = json.dumps(manifest).encode()
    (folder / bundle.MANIFEST).write_bytes(content)
    (folder / bundle.DIGEST).write_text(f"{hashlib.sha256(content).hexdigest()}  {bundle.MANIFEST}\n")
    return folder


def masks(session: Session, seen: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    run = session.run

    def watched(feeds: dict[str, np.ndarray], *rest: object) -> dict[str, np.ndarray]:
        seen.append(feeds["attention_mask"])
        return run(feeds, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "run", watched)


def test_its_texts_are_read_without_padding_and_a_warning_says_so(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = aged(encoder_folder, tmp_path / "old")
    older._warn_once.cache_clear()
    with pytest.warns(OlderBundleWarning, match="old: sealed before .* only texts of equal length") as caught:
        model = load(folder)
    assert [each.filename for each in caught] == [__file__]
    seen: list[np.ndarray] = []
    with model, load(encoder_folder) as new:
        assert model._open is not None
        masks(model._open, seen, monkeypatch)
        vectors = model.embed(TEXTS)
        np.testing.assert_allclose(vectors, new.embed(TEXTS), atol=1e-6)
    assert len(seen) > 1
    assert all(mask.all() for mask in seen)


def test_what_is_decoded_needs_no_such_record(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    old = aged(models.decoder_bundle(tmp_path / "new"), tmp_path / "old")
    older._warn_once.cache_clear()
    load(old).close()
    assert not [each for each in recwarn if each.category is OlderBundleWarning]


def test_inspect_says_what_is_not_known(
    encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = models.failed(encoder_folder, tmp_path / "certified")
    folder = aged(failed, tmp_path / "old")
    inspect.inspect.main([str(folder)], standalone_mode=False)
    assert "padding unknown: only texts of equal length are read together" in capsys.readouterr().out

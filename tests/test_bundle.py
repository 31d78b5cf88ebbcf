from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from compiler import bundle
from compiler.errors import IntegrityError
from compiler.records import Manifest
from tests import models


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "engine").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "engine" / "weights.bin").write_bytes(b"weights")
    (folder / "empty").write_bytes(b"")
    bundle.seal(folder, models.manifest("encoder", (), ()))
    return folder


def edit(folder: Path, change: Any) -> None:
    path = folder / bundle.MANIFEST
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_seal_lists_every_file_but_the_manifest(sealed: Path) -> None:
    manifest = bundle.verify(sealed)
    assert isinstance(manifest, Manifest)
    assert list(manifest.files) == ["empty", "engine/weights.bin", "model.onnx"]
    assert manifest.files["engine/weights.bin"].size == 7
    assert manifest == bundle.read(sealed)


def test_sealing_again_gives_the_same_manifest(sealed: Path) -> None:
    manifest = bundle.read(sealed)
    assert bundle.seal(sealed, manifest) == manifest


def test_all_differences_are_named_at_once(sealed: Path) -> None:
    (sealed / "model.onnx").write_bytes(b"grapH")
    (sealed / "empty").unlink()
    (sealed / "engine" / "more").write_bytes(b"")
    with pytest.raises(IntegrityError) as caught:
        bundle.verify(sealed)
    assert caught.value.found == "changed: model.onnx; missing: empty; added: engine/more"
    assert caught.value.exit_code == 11


def test_a_changed_size_is_a_change(sealed: Path) -> None:
    with (sealed / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(IntegrityError, match=r"changed: model\.onnx"):
        bundle.verify(sealed)


def test_links_and_special_files_are_refused(sealed: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.onnx").write_bytes(b"graph")
    for place, make in {
        "model.onnx": lambda path: path.symlink_to(outside / "model.onnx"),
        "folder": lambda path: path.symlink_to(outside),
        "dangling": lambda path: path.symlink_to(outside / "nothing"),
        "pipe": os.mkfifo,
    }.items():
        path = sealed / place
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(IntegrityError, match=f"{place}: not a plain file"):
            bundle.verify(sealed)
        path.unlink()
        if kept is not None:
            path.write_bytes(kept)
    bundle.verify(sealed)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "engine/../../secret", "a//b", "./model.onnx", "a\\b", "."]
)
def test_names_that_lead_elsewhere_are_refused(sealed: Path, name: str) -> None:
    def change(content: dict[str, Any]) -> None:
        content["files"][name] = {"sha256": "0" * 64, "size": 1}

    edit(sealed, change)
    for function in (bundle.read, bundle.verify):
        with pytest.raises(IntegrityError, match="leads elsewhere"):
            function(sealed)


def test_the_model_must_be_one_of_the_files(sealed: Path) -> None:
    edit(sealed, lambda content: content.update(model="../model.onnx"))
    with pytest.raises(IntegrityError, match="not among its files"):
        bundle.read(sealed)


def test_another_format_version_is_refused(sealed: Path) -> None:
    edit(sealed, lambda content: content.update(schema_version=99))
    with pytest.raises(IntegrityError, match="another version"):
        bundle.read(sealed)


def test_a_broken_or_missing_manifest_is_refused(sealed: Path) -> None:
    path = sealed / bundle.MANIFEST
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        bundle.verify(sealed)
    path.unlink()
    with pytest.raises(IntegrityError, match="no such file"):
        bundle.verify(sealed)

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler import bundle, inventory
from compiler.errors import IntegrityError, UsageError
from compiler.records import Manifest
from tests import models

ELSEWHERE = ["../secret", "/etc/passwd", "engine/../../secret", "a//b", "./model.onnx", "a\\b", ".", "a\0", ""]
PLAN = {
    "target": "sm89", "sha256": "0" * 64, "size": 1, "flavor": "tensorrt", "version": "10", "flags": [],
    "optimization_level": 3, "shapes": [], "inputs": [], "outputs": [], "layers": [], "model_sha256": "", "key": "",
    "seconds": 0,
}  # fmt: skip


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
    """Change the manifest as somebody does who makes the digests right again."""
    path = folder / bundle.MANIFEST
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / bundle.DIGEST).write_text(f"{sha256}  {bundle.MANIFEST}\n")


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


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_that_lead_elsewhere_are_refused(sealed: Path, name: str) -> None:
    def change(content: dict[str, Any]) -> None:
        content["files"][name] = {"sha256": "0" * 64, "size": 1}

    edit(sealed, change)
    for function in (bundle.read, bundle.verify):
        with pytest.raises(IntegrityError, match="leads elsewhere"):
            function(sealed)


def named(place: str, name: str) -> Callable[[dict[str, Any]], None]:
    """Lets one of the paths of a manifest be `name`."""

    def change(content: dict[str, Any]) -> None:
        source = content["source"]
        match place:
            case "model":
                content["model"] = name
            case "encoder":
                content["encoder"] = {"model": name, "inputs": [], "outputs": []}
            case "adapter":
                content["adapters"] = [{"name": "a", "file": name, "source": source, "rank": 2}]
            case "plan":
                content["plans"] = [PLAN | {"file": name}]

    return change


PLACES = ("model", "encoder", "adapter", "plan")


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("place", PLACES)
def test_no_path_of_a_manifest_leads_elsewhere(sealed: Path, place: str, name: str) -> None:
    edit(sealed, named(place, name))
    for function in (bundle.read, bundle.verify):
        with pytest.raises(IntegrityError, match="leads elsewhere"):
            function(sealed)


@pytest.mark.parametrize("place", PLACES)
def test_every_path_of_a_manifest_has_a_digest(sealed: Path, place: str) -> None:
    edit(sealed, named(place, "engine/weights.bin"))
    bundle.verify(sealed)
    for name in ("engine/others.bin", "manifest.json", "manifest.sha256"):
        edit(sealed, named(place, name))
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


def test_the_manifests_digest_lies_beside_it_as_sha256sum_reads_it(sealed: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", bundle.DIGEST], cwd=sealed, check=True, capture_output=True)
    found = hashlib.sha256((sealed / bundle.MANIFEST).read_bytes()).hexdigest()
    assert bundle.digest_of(sealed) == f"sha256:{found}"
    assert bundle.DIGEST not in bundle.read(sealed).files


def test_every_single_bit_of_the_manifest_and_of_its_digest_counts(sealed: Path) -> None:
    for name in sorted(bundle.UNLISTED):
        path = sealed / name
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
            with pytest.raises(IntegrityError):
                bundle.read(sealed)
        path.write_bytes(content)
    bundle.verify(sealed)


def test_a_manifest_without_its_digest_is_refused(sealed: Path) -> None:
    (sealed / bundle.DIGEST).unlink()
    with pytest.raises(IntegrityError, match="no such file"):
        bundle.read(sealed)


def test_a_caller_can_say_which_bundle_it_must_be(sealed: Path) -> None:
    digest = bundle.digest_of(sealed)
    assert bundle.verify(sealed, digest) == bundle.read(sealed, digest.removeprefix("sha256:"))
    edit(sealed, lambda content: content.update(context_length=content["context_length"] - 1))
    bundle.verify(sealed)  # all digests in it are right
    for function in (bundle.read, bundle.verify):
        with pytest.raises(IntegrityError, match="another bundle") as caught:
            function(sealed, digest)
    assert caught.value.expected == digest
    for none in ("", "sha256:", "md5:" + digest[7:], digest + "0", digest.upper()):
        with pytest.raises(UsageError, match="digest"):
            bundle.read(sealed, none)
    with pytest.raises(UsageError, match="digest"):
        bundle.read(sealed, 5)  # type: ignore[arg-type]


def test_files_are_those_that_were_listed(sealed: Path, tmp_path: Path) -> None:
    files = bundle.Files(sealed, bundle.read(sealed))
    assert files.read("engine/weights.bin") == b"weights"
    assert files.read("empty") == b""
    assert "engine/weights.bin" in files
    (sealed / "more").write_bytes(b"more")
    (tmp_path / "outside").write_bytes(b"weights")
    assert "more" not in files
    for name in ("more", "../outside", bundle.MANIFEST):
        with pytest.raises(IntegrityError, match="not one of the bundle's files"):
            files.read(name)
    path = sealed / "engine" / "weights.bin"
    for exchange in (
        lambda: path.write_bytes(b"weightS"),
        lambda: path.write_bytes(b"weights2"),
        lambda: path.write_bytes(b""),
        lambda: None,
        lambda: path.symlink_to(tmp_path / "outside"),
        path.mkdir,
        lambda: os.mkfifo(path),
    ):
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        exchange()
        with pytest.raises(IntegrityError, match=r"weights\.bin"):
            files.read("engine/weights.bin")


def test_what_is_opened_by_name_must_not_change_meanwhile(sealed: Path) -> None:
    before = inventory.stamps(sealed)
    inventory.require_untouched(sealed, before)
    path = sealed / "model.onnx"
    content = path.read_bytes()
    times = path.stat()
    path.write_bytes(content)  # in place, even to the same
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(IntegrityError, match=r"(?s)changed while.*model\.onnx"):
        inventory.require_untouched(sealed, before)
    before = inventory.stamps(sealed)
    path.rename(sealed.parent / "moved")
    (sealed.parent / "copy").write_bytes(content)
    (sealed.parent / "copy").rename(path)
    with pytest.raises(IntegrityError, match=r"(?s)changed while.*model\.onnx"):
        inventory.require_untouched(sealed, before)


def test_a_bundle_that_a_kill_left_aside_is_put_back(sealed: Path) -> None:
    manifest = bundle.read(sealed)
    sealed.rename(sealed.with_name(".bundle.0123abcd.old"))
    assert bundle.verify(sealed) == manifest
    assert [path.name for path in sealed.parent.iterdir()] == ["bundle"]

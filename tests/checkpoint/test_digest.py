"""Everything that decides a checkpoint is in its digest; what is not is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from compiler.checkpoint import load_tokenizer, resolve
from compiler.checkpoint.digests import content
from compiler.errors import CheckpointError
from tests.checkpoint.edits import edit


def test_what_a_linked_folder_holds_is_in_the_digest(folder: Path, cache: Path, tmp_path: Path) -> None:
    part = folder / "1_Pooling"
    part.mkdir()
    (part / "config.json").write_text("{}")
    plain = content(folder)
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert content(folder) == plain  # where it lies changes no answer
    edit(tmp_path / "elsewhere" / "config.json", pooling_mode="cls")
    assert content(folder) != plain


def test_a_folder_that_links_to_itself_has_a_digest(folder: Path) -> None:
    plain = content(folder)
    (folder / "again").symlink_to(folder, target_is_directory=True)
    linked = content(folder)
    assert linked != plain
    (folder / "again").unlink()
    (folder / "again").symlink_to(folder / "..", target_is_directory=True)
    assert content(folder) not in (plain, linked)


@pytest.mark.parametrize("name", [".hidden.safetensors", "../x.safetensors"])
def test_no_weights_are_read_that_the_digest_leaves_out(folder: Path, cache: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    index = {"weight_map": dict.fromkeys(load_file(folder / name), name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="outside the checkpoint's weights"):
        resolve(str(folder), cache=cache)


def test_a_checkpoint_that_changes_is_told(folder: Path, cache: Path) -> None:
    found = resolve(str(folder), cache=cache)
    found.require_unchanged()
    edit(folder / "config.json", layer_norm_eps=0.5)
    with pytest.raises(CheckpointError, match="changed while it was read") as caught:
        found.require_unchanged()
    assert found.source.digest[:16] in str(caught.value)
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="changed while it was read"):
        found.require_unchanged()


def test_another_file_for_some_versions_of_transformers(folder: Path, cache: Path) -> None:
    shutil.copyfile(folder / "config.json", folder / "config.4.0.0.json")
    edit(folder / "config.json", configuration_files=["config.4.0.0.json"])
    with pytest.raises(CheckpointError, match="configuration_files"):
        resolve(str(folder), cache=cache)


@pytest.mark.parametrize("place", ["..", ".hidden", "gone"])
def test_a_tokenizer_that_no_digest_covers(folder: Path, tmp_path: Path, place: str) -> None:
    name = "tokenizer.4.0.0.json" if place == "gone" else f"{place}/tokenizer.4.0.0.json"
    (folder / ".hidden").mkdir()
    if place != "gone":
        shutil.copyfile(folder / "tokenizer.json", folder / name)
    edit(folder / "tokenizer_config.json", fast_tokenizer_files=[name])
    with pytest.raises(CheckpointError, match="fast_tokenizer_files"):
        load_tokenizer(folder)


def test_a_tokenizer_for_some_versions_of_transformers(folder: Path) -> None:
    plain = load_tokenizer(folder)("the cat")["input_ids"]
    (folder / "tokenizer.json").rename(folder / "tokenizer.4.0.0.json")
    edit(folder / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.4.0.0.json"])
    assert load_tokenizer(folder)("the cat")["input_ids"] == plain


def test_a_snapshot_that_may_lack_a_sentence_encoders_modules(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What transformers alone downloads of a sentence encoder has no modules.json: its pooling would be another."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    snapshot = folder.rename(folder.with_name("a" * 40))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    said: list[bool] = []

    def there(*_: object, **asked: object) -> bool:
        assert asked == {"revision": "a" * 40}
        if not said:
            raise OfflineModeIsEnabled("offline")
        return said.pop()

    monkeypatch.setattr("huggingface_hub.HfApi.file_exists", there)
    with pytest.raises(CheckpointError, match=r"nobody knows whether a modules\.json belongs to it"):
        resolve("some-one/some-model", cache=cache)
    said.append(True)
    with pytest.raises(CheckpointError, match="only a part of it"):
        resolve("some-one/some-model", cache=cache)
    said.append(False)
    assert resolve("some-one/some-model", cache=cache).task == "feature-extraction"
    assert resolve("some-one/some-model", cache=cache).source.revision == "a" * 40  # known from now on
    assert resolve(str(snapshot), cache=cache).source.revision is None  # a folder is what it is

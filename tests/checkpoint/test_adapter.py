"""What a user can hand in as an adapter, and what is refused before it meets its base."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from compiler.checkpoint import Checkpoint, adapter, load_tokenizer, resolve
from compiler.checkpoint.adapter import CONFIG, WEIGHTS, find
from compiler.checkpoint.join import attach
from compiler.errors import CheckpointError, UsageError
from tests import peft_adapters


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peft_adapters.llama(tmp_path_factory.mktemp("base") / "small-llm")


@pytest.fixture(scope="module")
def lora(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peft_adapters.adapter(base, tmp_path_factory.mktemp("adapters") / "lora", peft_adapters.lora("llama"))


@pytest.fixture
def folder(lora: Path, tmp_path: Path) -> Path:
    """A copy of the LoRA that a test may damage."""
    return Path(shutil.copytree(lora, tmp_path / "lora"))


@pytest.fixture
def checkpoint(base: Path, tmp_path: Path) -> Checkpoint:
    return resolve(str(base), cache=tmp_path / "cache")


def test_one_without_a_name_is_compiled_in(lora: Path) -> None:
    (found,) = find([str(lora)])
    assert (found.name, found.tuner, found.task, found.base) == ("", "LORA", "text-generation", "small-llm")


def test_several_are_kept_apart_by_their_names_or_their_folders(lora: Path, folder: Path) -> None:
    assert [each.name for each in find([f"support={lora}", str(folder)])] == ["support", "lora"]
    assert [each.name for each in find([f"support={lora}"])] == ["support"]


@pytest.mark.parametrize("names", [("a", "a"), ("a b", "c"), ("", "c")])
def test_names_are_plain_and_differ(lora: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="adapter"):
        find([f"{name}={lora}" for name in names])


def test_adapters_of_different_tasks_are_refused(lora: Path, folder: Path) -> None:
    peft_adapters.changed(folder, task_type="SEQ_CLS")
    with pytest.raises(UsageError, match="different tasks"):
        adapter.task_of(find([f"a={lora}", f"b={folder}"]))


def test_pickled_weights_are_refused_and_never_read(folder: Path) -> None:
    (folder / WEIGHTS).unlink()

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(folder / "boom"),)  # type: ignore[return-value]

    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="pickle") as caught:
        find([str(folder)])
    assert "safe_serialization" in caught.value.action
    assert not (folder / "boom").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "nonsense", '{"peft_type": ["LORA"]}', "[" * 100_000, " " * (1 << 20) + "{}"]
)
def test_a_configuration_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text)
    with pytest.raises(CheckpointError):
        find([str(folder)])


@pytest.mark.parametrize("kind", ["XLORA", "SHADOW", "POLY", "NEW"])
def test_a_kind_that_cannot_be_compiled_lists_those_that_can(folder: Path, kind: str) -> None:
    peft_adapters.changed(folder, peft_type=kind)
    with pytest.raises(CheckpointError, match=kind) as caught:
        find([str(folder)])
    assert "PREFIX_TUNING" in caught.value.expected


def test_a_setting_that_imports_a_module_is_refused(folder: Path) -> None:
    peft_adapters.changed(folder, megatron_config={"a": 1}, megatron_core="antigravity")
    with pytest.raises(CheckpointError, match="megatron_config"):
        find([str(folder)])


@pytest.mark.parametrize("settings", [{"r": 10**12}, {"r": "8"}, {"rank_pattern": {"q_proj": 10**9}}, {"r": -1}])
def test_sizes_that_the_weights_do_not_have_are_refused(folder: Path, settings: dict[str, object]) -> None:
    peft_adapters.changed(folder, **settings)
    with pytest.raises(CheckpointError, match="does not belong to these weights"):
        find([str(folder)])


def test_damaged_weights_are_refused(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for damaged in (whole[:-1], whole + b"\0", struct.pack("<Q", 1 << 60) + whole[8:], b"", b"{}"):
        (folder / WEIGHTS).write_bytes(damaged)
        with pytest.raises(CheckpointError):
            find([str(folder)])


def test_what_is_no_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    for other in (base, tmp_path / "nowhere" / "at" / "all", base / "config.json"):
        with pytest.raises(CheckpointError):
            find([str(other)])


def test_an_adapter_of_another_model_is_refused_with_both_names(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    peft_adapters.changed(folder, base_model_name_or_path="some/other-llm")
    with pytest.raises(CheckpointError, match="another model") as caught:
        attach(checkpoint, find([str(folder)]), None, tmp_path)
    assert '"other-llm"' in caught.value.found
    assert '"small-llm"' in caught.value.expected
    assert caught.value.exit_code == 4
    assert attach(checkpoint, find([str(folder)]), "elsewhere/Other-LLM", tmp_path).source.adapter


def test_a_joined_checkpoint_has_an_identity_of_its_own(
    checkpoint: Checkpoint, lora: Path, folder: Path, tmp_path: Path
) -> None:
    first = attach(checkpoint, find([str(lora)]), None, tmp_path)
    same = attach(checkpoint, find([str(folder)]), None, tmp_path)
    weights = load_file(folder / WEIGHTS)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / WEIGHTS)
    other = attach(checkpoint, find([str(folder)]), None, tmp_path)
    assert first.source.digest == same.source.digest != other.source.digest
    assert checkpoint.source.digest not in {first.source.digest, other.source.digest}
    apart = attach(checkpoint, find([f"a={lora}"]), None, tmp_path)
    assert (apart.source, apart.folder) == (checkpoint.source, checkpoint.folder)
    assert apart.adapters[0].joined not in {None, checkpoint.folder}


def test_the_adapters_tokenizer_replaces_the_bases(checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(checkpoint.folder / name, folder / name)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    joined = attach(checkpoint, find([str(folder)]), None, tmp_path)
    assert (joined.folder / "chat_template.jinja").read_text() == "{{ messages[0].content }}"
    assert (joined.folder / "model.safetensors").samefile(checkpoint.folder / "model.safetensors")


def test_the_template_in_an_adapters_settings_comes_before_the_bases_file(
    folder: Path, base: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(base, tmp_path / "small-llm"))
    (own / "chat_template.jinja").write_text("the base's")
    shutil.copyfile(base / "tokenizer.json", folder / "tokenizer.json")
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": "the adapter's"}))
    joined = attach(resolve(str(own), cache=tmp_path), find([str(folder)]), None, tmp_path)
    assert load_tokenizer(joined.folder).chat_template == "the adapter's"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    joined = attach(resolve(str(own), cache=tmp_path), find([str(folder)]), None, tmp_path)
    assert load_tokenizer(joined.folder).chat_template == "the base's"


def test_an_adapters_chat_templates_replace_all_of_the_bases(folder: Path, base: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(base, tmp_path / "small-llm"))
    for place, owner in ((own, "the base's"), (folder, "the adapter's")):
        (place / "additional_chat_templates").mkdir()
        (place / "chat_template.jinja").write_text(owner)
        (place / "additional_chat_templates" / "tool_use.jinja").write_text(f"{owner}, with tools")
    (own / "additional_chat_templates" / "rag.jinja").write_text("of documents")
    checkpoint = resolve(str(own), cache=tmp_path)
    with pytest.raises(CheckpointError, match="another chat template"):
        attach(checkpoint, find([f"x={folder}"]), None, tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, folder / name)
    first = attach(checkpoint, find([str(folder)]), None, tmp_path)
    assert load_tokenizer(first.folder).chat_template == {
        "default": "the adapter's",
        "tool_use": "the adapter's, with tools",
    }
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("another one")
    second = attach(checkpoint, find([str(folder)]), None, tmp_path)
    assert load_tokenizer(second.folder).chat_template["tool_use"] == "another one"
    shutil.rmtree(folder / "additional_chat_templates")
    third = attach(checkpoint, find([str(folder)]), None, tmp_path)
    assert load_tokenizer(third.folder).chat_template == "the adapter's"


def test_an_adapter_kept_apart_shares_its_bases_tokens(checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    tokenizer = json.loads((checkpoint.folder / "tokenizer.json").read_text())
    path = folder / "tokenizer.json"

    def attached(**changes: Any) -> Checkpoint:
        path.write_text(json.dumps({**tokenizer, **changes}))
        return attach(checkpoint, find([f"x={folder}"]), None, tmp_path)

    more = {"id": 300, "content": "[PAD]", "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True}  # fmt: skip
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
               "pad_type_id": 0, "pad_token": "</s>"}  # fmt: skip
    for same in ({}, {"padding": padding}, {"added_tokens": [*tokenizer["added_tokens"], more]}):
        assert attached(**same).adapters[0].joined
    frame = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}
    vocabulary = tokenizer["model"]["vocab"]
    first, second = sorted(vocabulary, key=vocabulary.get)[10:12]
    swapped = {**vocabulary, first: vocabulary[second], second: vocabulary[first]}
    for changes, found in (
        ({"normalizer": frame}, "other tokens for"),
        ({"model": {**tokenizer["model"], "vocab": swapped}}, "in the base"),
    ):
        with pytest.raises(CheckpointError, match="trained with another tokenizer") as caught:
            attached(**changes)
        assert found in caught.value.found
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be loaded"):
        attach(checkpoint, find([f"x={folder}"]), None, tmp_path)


@pytest.mark.parametrize("kept", ["chat_template.jinja", "tokenizer_config.json"])
def test_an_adapter_kept_apart_shares_its_bases_chat_template(
    folder: Path, base: Path, kept: str, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(base, tmp_path / "small-llm"))
    (own / "chat_template.jinja").write_text("{{ messages }}")
    checkpoint = resolve(str(own), cache=tmp_path)
    for template, same in (("{{ messages }}\n", True), ("### {{ messages }}", False)):
        (folder / kept).write_text(template if kept.endswith("jinja") else json.dumps({"chat_template": template}))
        if same:
            assert attach(checkpoint, find([f"x={folder}"]), None, tmp_path).adapters[0].joined
            continue
        with pytest.raises(CheckpointError, match="trained with another chat template"):
            attach(checkpoint, find([f"x={folder}"]), None, tmp_path)


@pytest.mark.parametrize("kept", ["chat_template.jinja", "tokenizer_config.json", "added_tokens.json"])
def test_a_tokenizer_without_tokenizer_json_is_not_left_out(
    checkpoint: Checkpoint, folder: Path, kept: str, tmp_path: Path
) -> None:
    """An adapter that brings a chat template or tokens of its own, beside a tokenizer that only older code reads."""
    known = json.loads((checkpoint.folder / "tokenizer.json").read_text())["added_tokens"][0]
    cases = {
        "chat_template.jinja": ("", "### {{ messages }}"),
        "tokenizer_config.json": ('{"model_max_length": 64}', '{"chat_template": "### {{ messages }}"}'),
        "added_tokens.json": (json.dumps({known["content"]: known["id"], "[PAD]": 300}), '{"[PAD]": 9}'),
    }
    same, other = cases[kept]
    (folder / kept).write_text(same)
    assert attach(checkpoint, find([str(folder)]), None, tmp_path).compiled_in
    (folder / kept).write_text(other)
    with pytest.raises(CheckpointError, match="trained with another") as caught:
        attach(checkpoint, find([str(folder)]), None, tmp_path)
    assert "tokenizer.json" in str(caught.value)


def test_a_new_head_brings_its_labels(tmp_path: Path) -> None:
    base = peft_adapters.bert(tmp_path / "bert")
    config = peft_adapters.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
    tuned = peft_adapters.adapter(base, tmp_path / "tuned", config)
    checkpoint = resolve(str(base), task="text-classification", cache=tmp_path)

    def labels() -> object:
        return json.loads((attach(checkpoint, find([str(tuned)]), None, tmp_path).folder / "config.json").read_text())[
            "id2label"
        ]

    assert labels() == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    (tuned / "config.json").write_text(json.dumps({"id2label": {"0": "bad", "1": "fair", "2": "good"}}))
    assert labels() == {"0": "bad", "1": "fair", "2": "good"}

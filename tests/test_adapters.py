"""Adapters through the whole program, against PEFT: compiled in, and kept apart in one bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch

import compiler
from compiler import pipeline, records
from compiler.bundle import CERTIFICATE, seal
from compiler.checkpoint.quiet import quiet
from compiler.errors import BudgetError, CheckpointError, IntegrityError, UsageError
from compiler.records import Certificate
from compiler.runtime import Model
from tests import peft_adapters
from tests.conftest import CONTEXT, Compile

PROFILE = "cpu-x86-avx2"
PROMPTS = ["the cat", "the cat sat on the mat and", "on"]
TOKENS = 24


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def bases(folder: Path) -> dict[str, Path]:
    return {
        "llama": peft_adapters.llama(folder / "llama"),
        "gpt2": peft_adapters.gpt2(folder / "gpt2"),
        "bert": peft_adapters.bert(folder / "bert"),
    }


def build(base: Path, out: Path, *adapters: object, **options: Any) -> Path:
    options = {"profile": PROFILE, "precision": "float32", "bench": False, **options}
    return pipeline.build(str(base), out=out, adapters=[str(each) for each in adapters], **options)


def ids_of(model: Model, text: str) -> list[int]:
    return list(model._text.encode([text])[0].ids)


def continued(reference: Any, ids: list[int]) -> list[int]:
    """PEFT's own greedy tokens."""
    tokens = torch.tensor([ids])
    with quiet(), torch.inference_mode():
        whole = reference.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=1,
        )
    return whole[0, len(ids) :].tolist()  # type: ignore[no-any-return]


def generated(model: Model, adapter: str | None = None) -> list[list[int]]:
    """Our greedy tokens for all prompts in one batch, unhindered by the end of text."""
    rows = [ids_of(model, prompt) for prompt in PROMPTS]
    cache = model.manifest.cache
    assert cache is not None
    lengths = np.array([len(row) for row in rows], np.int64)
    tokens = np.zeros((len(rows), int(lengths.max())), np.int64)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
    decoding = model._with(adapter).decode(cache, len(rows), int(lengths.max()) + TOKENS)
    steps = []
    for _ in range(TOKENS):
        tokens = decoding.step(tokens, lengths).argmax(axis=-1)[:, None]
        lengths = lengths + 1
        steps.append(tokens)
    return np.concatenate(steps, axis=1).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("family", "kind"), [("llama", "prompt"), ("gpt2", "prefix")])
def test_virtual_tokens_are_compiled_into_a_decoder(
    bases: dict[str, Path], tmp_path: Path, family: str, kind: str
) -> None:
    tuned = peft_adapters.adapter(bases[family], tmp_path / kind, peft_adapters.DECODERS[kind])
    bundle = build(bases[family], tmp_path / "bundle", tuned)
    with compiler.load(bundle) as model:
        assert model.certificate.verdict == "pass"
        assert model.manifest.context_length == CONTEXT - peft_adapters.VIRTUAL
        assert {tensor.name.split(".")[0] for tensor in model.manifest.inputs} <= {
            "input_ids",
            "attention_mask",
            "position_ids",
            "logits_positions",
            "past_key_values",
        }
        reference = peft_adapters.opened(bases[family], tuned)
        assert generated(model) == [continued(reference, ids_of(model, prompt)) for prompt in PROMPTS]


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("SEQ_CLS", peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"])),
        ("TOKEN_CLS", peft.PromptTuningConfig(task_type="TOKEN_CLS", num_virtual_tokens=peft_adapters.VIRTUAL)),
        ("FEATURE_EXTRACTION", peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=4)),
    ],
    ids=["lora", "prompt", "prefix"],
)
def test_an_encoder_answers_with_its_adapter(
    bases: dict[str, Path], tmp_path: Path, task: str, config: peft.PeftConfig
) -> None:
    tuned = peft_adapters.adapter(bases["bert"], tmp_path / "tuned", config)
    bundle = build(bases["bert"], tmp_path / "bundle", tuned)
    ids = np.array([[2, 9, 12, 40, 7], [2, 8, 60, 1, 1]])
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.inference_mode():
        reference = peft_adapters.opened(bases["bert"], tuned)
        expected = reference(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))[0]
    with compiler.load(bundle) as model:
        assert model.certificate.source.adapter is not None
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {tensor.name: feeds[tensor.name] for tensor in model.manifest.inputs}
        found = next(iter(model.run(wanted).values()))
        real = mask == 1 if task != "SEQ_CLS" else ...
        hidden = expected[:, -5:].numpy() if task == "TOKEN_CLS" else expected.numpy()
        np.testing.assert_allclose(found[real], hidden[real], atol=1e-5)
        if task == "SEQ_CLS":
            assert model.classify("the cat")[0]["label"] in {"LABEL_0", "LABEL_1", "LABEL_2"}


@pytest.fixture(scope="module")
def loras(bases: dict[str, Path], folder: Path) -> dict[str, Path]:
    first = peft_adapters.lora("gpt2")
    second = peft_adapters.lora(
        "gpt2", r=2, use_rslora=True, target_modules=["c_attn"], rank_pattern={"h.1.attn.c_attn": 6}
    )
    return {
        "one": peft_adapters.adapter(bases["gpt2"], folder / "one", first),
        "two": peft_adapters.adapter(bases["gpt2"], folder / "two", second, seed=2),
    }


@pytest.fixture(scope="module")
def bundle(bases: dict[str, Path], loras: dict[str, Path], folder: Path, cache: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))
        yield build(bases["gpt2"], folder / "bundle", *(f"{name}={path}" for name, path in loras.items()))


@pytest.fixture
def model(bundle: Path) -> Iterator[Model]:
    with compiler.load(bundle) as model:
        yield model


def test_each_adapter_generates_what_peft_does(model: Model, bases: dict[str, Path], loras: dict[str, Path]) -> None:
    for name, path in loras.items():
        reference = peft_adapters.opened(bases["gpt2"], path)
        assert generated(model, name) == [continued(reference, ids_of(model, prompt)) for prompt in PROMPTS]
    assert len({str(generated(model, name)) for name in (None, "one", "two")}) == 3


def test_the_base_answers_bit_for_bit_as_before(model: Model) -> None:
    ids = np.array([ids_of(model, PROMPTS[1])], np.int64)
    cache = model.manifest.cache
    assert cache is not None

    def logits(adapter: str | None) -> np.ndarray:
        decoding = model._with(adapter).decode(cache, 1, 16)
        return decoding.step(ids, np.array([ids.shape[1]])).copy()

    before, again = logits(None), logits(None)
    adapted = logits("one")
    assert np.array_equal(before, again)
    assert not np.allclose(before, adapted, atol=1e-3)
    assert np.array_equal(before, logits(None))
    assert np.array_equal(adapted, logits("one"))


def test_requests_name_their_adapter(model: Model) -> None:
    plain = model.generate("the cat", max_new_tokens=8)
    one = model.generate("the cat", max_new_tokens=8, adapter="one")
    assert one == "".join(model.generate("the cat", max_new_tokens=8, adapter="one", stream=True)) != plain
    assert model.generate(["the cat", "on"], max_new_tokens=8, adapter="one")[0] == one
    assert model.generate("the cat", max_new_tokens=8) == plain
    with pytest.raises(UsageError, match="tow") as caught:
        model.generate("the cat", adapter="tow")
    assert caught.value.expected == "one, two"
    assert "two" in caught.value.action


def test_raw_tensors_take_an_adapter(model: Model) -> None:
    feeds: dict[str, np.ndarray] = {}
    for tensor in model.manifest.inputs:
        shape = [{"batch": 1, "sequence": 3, "total_sequence": 3, "kept": 1}.get(str(dim), 0) for dim in tensor.shape]
        sizes = [dim if isinstance(dim, int) else size for dim, size in zip(tensor.shape, shape, strict=True)]
        feeds[tensor.name] = np.ones(sizes, tensor.dtype)
    assert not any(name.startswith("adapter.") for name in feeds)
    assert not np.allclose(model.run(feeds)["logits"], model.run(feeds, adapter="two")["logits"])


def test_every_adapter_has_a_parity_record(bundle: Path) -> None:
    certificate = records.load(bundle / CERTIFICATE, Certificate)
    assert certificate.checked.adapters.keys() == {"one", "two"}
    names = {finding.name for finding in certificate.checked.findings} - {"tokens.differences"}  # which are the base's
    assert all({each.name for each in found} == names for found in certificate.checked.adapters.values())
    assert "With the adapter two" in (bundle / "report.html").read_text()
    assert pipeline.check(bundle).adapters.keys() == {"one", "two"}


def test_an_adapter_outside_the_budget_is_named(bases: dict[str, Path], loras: dict[str, Path], tmp_path: Path) -> None:
    named = [f"{name}={path}" for name, path in loras.items()]
    limits = {"max_kl_divergence": 0.0}
    with pytest.raises(BudgetError) as caught:
        build(bases["gpt2"], tmp_path / "out", *named, precision="int8-dynamic", budget=limits)
    assert {"kl.mean", "one: kl.mean", "two: kl.mean"} <= set(
        json.loads((tmp_path / "out" / CERTIFICATE).read_text())["reasons"]
    )
    assert "two: kl.mean" in caught.value.subject


def test_the_base_is_stored_once(bundle: Path, model: Model) -> None:
    files = {name: entry.size for name, entry in model.manifest.files.items()}
    assert sum(name.endswith((".onnx", ".data")) for name in files) == 2
    assert {name for name in files if name.startswith("adapters/")} == {"adapters/one.npz", "adapters/two.npz"}


@pytest.mark.parametrize("damage", ["pickle", "text", "missing", "shape", "dtype"])
def test_a_file_that_is_no_adapter_is_refused(bundle: Path, tmp_path: Path, damage: str) -> None:
    import shutil

    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    path = copy / "adapters" / "one.npz"
    arrays: dict[str, Any] = dict(np.load(path))
    name = next(iter(arrays))
    if damage == "pickle":
        arrays[name] = np.array([{}], dtype=object)
    elif damage == "missing":
        del arrays[name]
    elif damage == "shape":
        arrays[name] = arrays[name][:-1]
    elif damage == "dtype":
        arrays[name] = arrays[name].astype(np.float64)
    np.savez(path, **arrays)
    if damage == "text":
        path.write_text("not an archive")
    from compiler.bundle import read

    seal(copy, read(copy))
    with compiler.load(copy) as model:
        model.generate("the cat", max_new_tokens=1)
        with pytest.raises(IntegrityError, match=r"one\.npz"):
            model.generate("the cat", adapter="one")


def test_an_adapter_that_changed_since_is_not_the_reference(
    bundle: Path, loras: dict[str, Path], bases: dict[str, Path]
) -> None:
    path = loras["one"] / "adapter_model.safetensors"
    original = path.read_bytes()
    path.write_bytes(original[:-4] + b"\0\0\0\0")
    try:
        with pytest.raises(CheckpointError, match='not the adapter "one"'):
            pipeline.check(bundle)
    finally:
        path.write_bytes(original)


def test_the_command_refuses_an_adapter_of_another_model(
    bases: dict[str, Path], loras: dict[str, Path], compile_: Compile, tmp_path: Path
) -> None:
    done = compile_("build", bases["llama"], "--adapter", loras["one"], "--out", tmp_path / "out", "--no-bench")
    assert done.returncode == 4
    assert '"gpt2"' in done.stderr
    assert '"llama"' in done.stderr
    assert "--adapter-base" in done.stderr
    assert not (tmp_path / "out").exists()

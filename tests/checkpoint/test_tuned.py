"""A model with an adapter in effect answers as PEFT does, and an adapter that does not fit is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from compiler.checkpoint import load_model
from compiler.checkpoint.adapter import WEIGHTS
from compiler.checkpoint.reference import Reference
from compiler.checkpoint.tuned import low_rank, tuned
from compiler.checkpoint.virtual import VirtualTokens
from compiler.errors import CheckpointError
from tests import peft_adapters

IDS = torch.tensor([[5, 9, 12, 40, 7], [3, 8, 60, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])

LLAMA = ["q_proj", "v_proj"]
MERGED: dict[str, peft.PeftConfig] = {
    "lora": peft_adapters.lora("llama", use_rslora=True, rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 3}),
    "dora": peft_adapters.lora("llama", use_dora=True),
    "head": peft_adapters.lora("llama", modules_to_save=["lm_head"]),
    "ia3": peft.IA3Config(task_type="CAUSAL_LM"),
    "adalora": peft.AdaLoraConfig(task_type="CAUSAL_LM", target_modules=LLAMA, init_r=3, total_step=10),
    "loha": peft.LoHaConfig(task_type="CAUSAL_LM", target_modules=LLAMA, r=2),
    "lokr": peft.LoKrConfig(task_type="CAUSAL_LM", target_modules=LLAMA, r=2),
    "oft": peft.OFTConfig(task_type="CAUSAL_LM", target_modules=LLAMA, oft_block_size=4),
    "vera": peft.VeraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], r=4),
    "norms": peft.LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm"]),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peft_adapters.llama(tmp_path_factory.mktemp("bases") / "llama")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peft_adapters.gpt2(tmp_path_factory.mktemp("bases") / "gpt2")


def logits(model: Any, **inputs: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(**inputs).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", MERGED)
def test_merged_weights_answer_as_the_adapter_does(llama: Path, tmp_path: Path, kind: str) -> None:
    folder = peft_adapters.adapter(llama, tmp_path / kind, MERGED[kind])
    expected = logits(peft_adapters.opened(llama, folder), input_ids=IDS, attention_mask=MASK)
    plain = load_model(llama, "text-generation")
    assert not torch.allclose(logits(plain, input_ids=IDS, attention_mask=MASK), expected, atol=1e-2)
    merged = tuned(plain, folder)
    assert type(merged).__name__ == "LlamaForCausalLM"
    torch.testing.assert_close(logits(merged, input_ids=IDS, attention_mask=MASK), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_low_rank_changes_are_what_the_adapter_adds(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base: Path = request.getfixturevalue(family)
    first = peft_adapters.TARGETS[family][0]
    config = peft_adapters.lora(family, rank_pattern={first: 7}, alpha_pattern={first: 3})
    folder = peft_adapters.adapter(base, tmp_path / "lora", config)
    expected = logits(peft_adapters.opened(base, folder), input_ids=IDS)
    model: Any = load_model(base, "text-generation")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    changes = low_rank(model, folder, "lora")
    assert {change.a.shape[1] for change in changes.values()} == {4, 7}
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    for path, change in changes.items():
        model.get_submodule(path).register_forward_hook(
            lambda _, inputs, output, change=change: output + inputs[0] @ change.a @ change.b
        )
    torch.testing.assert_close(logits(model, input_ids=IDS), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "bias"),
        ({"target_modules": ["embed_tokens"]}, "Embedding"),
    ],
)
def test_what_cannot_stay_apart_says_why_and_what_to_do(
    llama: Path, tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    folder = peft_adapters.adapter(llama, tmp_path / "lora", peft_adapters.lora("llama", **settings))
    with pytest.raises(CheckpointError) as caught:
        low_rank(load_model(llama, "text-generation"), folder, "mine")
    assert reason in caught.value.found
    assert "--adapter PATH" in caught.value.action


def test_ia3_cannot_stay_apart(llama: Path, tmp_path: Path) -> None:
    folder = peft_adapters.adapter(llama, tmp_path / "ia3", MERGED["ia3"])
    with pytest.raises(CheckpointError, match="IA3"):
        low_rank(load_model(llama, "text-generation"), folder, "mine")


@pytest.mark.parametrize("kind", ["prompt", "p", "prefix"])
def test_virtual_tokens_are_hidden(llama: Path, tmp_path: Path, kind: str) -> None:
    folder = peft_adapters.adapter(llama, tmp_path / kind, peft_adapters.DECODERS[kind])
    expected = logits(peft_adapters.opened(llama, folder), input_ids=IDS, attention_mask=MASK)
    model = tuned(load_model(llama, "text-generation"), folder)
    assert isinstance(model, VirtualTokens)
    found = logits(model, input_ids=IDS, attention_mask=MASK)
    assert found.shape[:2] == IDS.shape
    torch.testing.assert_close(found, expected[:, -IDS.shape[1] :])
    assert [tuple(tensor.shape) for tensor in model.past()[0]] == [(1, 2, peft_adapters.VIRTUAL, 8)] * 2


def test_the_reference_decodes_behind_virtual_tokens(llama: Path, tmp_path: Path) -> None:
    from compiler.checkpoint.adapter import find
    from compiler.checkpoint.join import attach
    from compiler.checkpoint.resolve import resolve

    folder = peft_adapters.adapter(llama, tmp_path / "prompt", peft_adapters.DECODERS["prompt"])
    joined = attach(resolve(str(llama), cache=tmp_path), find([str(folder)]), None, tmp_path)
    reference = Reference(joined.folder, "text-generation")
    whole = reference.logits(IDS.numpy(), (IDS * 0 + 1).numpy(), IDS.numpy())
    decoding = reference.decode(None, 2, 8)
    decoding.step(IDS[:, :3].numpy(), IDS[:, 0].numpy() * 0 + 3)
    stepped = decoding.step(IDS[:, 3:4].numpy(), IDS[:, 0].numpy() * 0 + 4)
    torch.testing.assert_close(torch.tensor(stepped), torch.tensor(whole[:, 3]), atol=1e-4, rtol=1e-4)


@pytest.fixture
def lora(llama: Path, tmp_path: Path) -> Path:
    return peft_adapters.adapter(llama, tmp_path / "lora", peft_adapters.lora("llama"))


def test_shapes_that_do_not_fit_name_the_tensor(gpt2: Path, llama: Path, lora: Path, tmp_path: Path) -> None:
    weights = load_file(lora / WEIGHTS)
    name = next(name for name in weights if "lora_A" in name)
    weights[name] = torch.ones(4, 16)
    save_file(weights, lora / WEIGHTS)
    with pytest.raises(CheckpointError, match="does not fit") as caught:
        tuned(load_model(llama, "text-generation"), lora)
    assert "size mismatch" in caught.value.found
    assert "lora_A" in caught.value.found
    with pytest.raises(CheckpointError, match="does not fit"):
        tuned(load_model(gpt2, "text-generation"), lora)


@pytest.mark.parametrize("damage", ["missing", "stranger", "nan"])
def test_weights_that_are_not_the_adapters_are_refused(llama: Path, lora: Path, damage: str) -> None:
    weights = load_file(lora / WEIGHTS)
    name = next(iter(weights))
    if damage == "missing":
        del weights[name]
    elif damage == "stranger":
        weights["base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"] = torch.ones(4, 32)
    else:
        weights[name][0, 0] = torch.nan
    save_file(weights, lora / WEIGHTS)
    with pytest.raises(CheckpointError) as caught:
        tuned(load_model(llama, "text-generation"), lora)
    assert "layers" in caught.value.found


@pytest.mark.parametrize(
    "settings", [{"lora_alpha": "many"}, {"use_new_thing": True}, {"target_modules": 7}, {"init_lora_weights": "corda"}]
)
def test_settings_that_peft_cannot_use_are_refused(llama: Path, lora: Path, settings: dict[str, Any]) -> None:
    peft_adapters.changed(lora, **settings)
    with pytest.raises(CheckpointError):
        tuned(load_model(llama, "text-generation"), lora)


def test_virtual_tokens_never_load_the_tokenizer_they_name(llama: Path, tmp_path: Path) -> None:
    folder = peft_adapters.adapter(llama, tmp_path / "prompt", peft_adapters.DECODERS["prompt"])
    peft_adapters.changed(
        folder, prompt_tuning_init="TEXT", prompt_tuning_init_text="hello", tokenizer_name_or_path=str(tmp_path / "no")
    )
    assert isinstance(tuned(load_model(llama, "text-generation"), folder), VirtualTokens)


def test_a_vocabulary_that_grew_is_taken(llama: Path, lora: Path) -> None:
    weights = load_file(lora / WEIGHTS)
    rows = load_model(llama, "text-generation").get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    weights["base_model.model.model.embed_tokens.weight"] = torch.randn(rows + 4, 32)
    weights["base_model.model.lm_head.weight"] = torch.randn(rows + 4, 32)
    save_file(weights, lora / WEIGHTS)
    model = tuned(load_model(llama, "text-generation"), lora)
    assert model.get_input_embeddings().weight.shape[0] == rows + 4


def test_prefix_tuning_of_an_encoder_says_what_is_supported(tmp_path: Path) -> None:
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.MPNetConfig(**size, vocab_size=64)
    base = peft_adapters.save(transformers.MPNetModel, config, tmp_path / "mpnet")
    prefix = peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    folder = peft_adapters.adapter(base, tmp_path / "prefix", prefix)
    with pytest.raises(CheckpointError, match="prefix tuning of MPNetModel") as caught:
        tuned(load_model(base, "feature-extraction"), folder)
    assert "prompt tuning" in caught.value.expected


def test_the_model_can_be_copied_to_another_folder(llama: Path, lora: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(lora, tmp_path / "moved")
    first, second = (
        logits(tuned(load_model(llama, "text-generation"), folder), input_ids=IDS) for folder in (lora, moved)
    )
    torch.testing.assert_close(first, second)

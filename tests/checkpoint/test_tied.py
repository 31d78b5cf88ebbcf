"""Adapters of tables that a model uses twice, and of a vocabulary that grew: as PEFT answers with nothing merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from compiler.checkpoint import load_model
from compiler.checkpoint.adapter import WEIGHTS
from compiler.checkpoint.original import open_original
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.tuned import low_rank, tuned
from compiler.errors import CheckpointError
from tests import peft_adapters

ROWS, GROWN = 40, 43
SMALL = {"vocab_size": ROWS, "initializer_range": 0.3, "pad_token_id": 0}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "vocab_size": ROWS}
CAUSAL, SEQ2SEQ = ("text-generation", "CAUSAL_LM"), ("text2text-generation", "SEQ_2_SEQ_LM")
IDS = torch.tensor([[5, 9, 12, 3, 7]])


def models(family: str, *, tied: bool) -> Any:
    torch.manual_seed(0)
    tie = {"tie_word_embeddings": tied}
    match family:
        case "llama":
            return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, **LAYERS, **tie))
        case "gpt2":
            config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, **SMALL, **tie)
            return transformers.GPT2LMHeadModel(config)
        case "neox":
            return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**SMALL, **LAYERS, **tie))
        case "bert":
            return transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, **LAYERS, **tie))
        case _:
            config = transformers.T5Config(**T5, decoder_start_token_id=0, initializer_factor=2.0, **tie)
            return transformers.T5ForConditionalGeneration(config)


def tune(base: Any, folder: Path, task: str | None, settings: dict[str, Any], rows: int = ROWS) -> Any:
    """A random adapter, saved; the model with it, nothing merged."""
    if rows > ROWS:
        base.resize_token_embeddings(rows, mean_resizing=False)
    with quiet():
        model = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=8, task_type=task, **settings)).eval()
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))  # tied ones stay tied
        model.save_pretrained(folder, save_embedding_layers=True if rows > ROWS else "auto")
    return model


def answer(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    decoder = {"decoder_input_ids": ids} if hasattr(model, "get_encoder") and model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        return model(input_ids=ids, **decoder).logits  # type: ignore[no-any-return]


def joined(base: Path, adapter: Path) -> Path:
    (base / "adapter").symlink_to(adapter)
    return base


TIED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-head": ("llama", {"target_modules": ["lm_head", "q_proj"]}),
    "llama-table": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "llama-both": ("llama", {"target_modules": ["embed_tokens", "lm_head"]}),
    "llama-both-together": ("llama", {"target_modules": ["embed_tokens", "lm_head"], "ensure_weight_tying": True}),
    "llama-saved-head": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "llama-saved-table": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}),
    "llama-tokens": ("llama", {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3, 9]}}),
    "llama-tokens-together": (
        "llama",
        {"target_modules": ["q_proj"], "trainable_token_indices": [3, 9], "ensure_weight_tying": True},
    ),
    "llama-saved-both": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}),
    "llama-saved-together": (
        "llama",
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "llama-dora": ("llama", {"target_modules": ["lm_head", "q_proj"], "use_dora": True}),
    "gpt2-head": ("gpt2", {"target_modules": ["lm_head", "c_attn"], "fan_in_fan_out": False}),
    "gpt2-table": ("gpt2", {"target_modules": ["wte", "c_attn"]}),
    "neox-head": ("neox", {"target_modules": ["lm_head", "query_key_value"]}),
    "t5-table": ("t5", {"target_modules": ["shared", "q"]}),
    "t5-head": ("t5", {"target_modules": ["lm_head", "q"]}),
    "t5-encoder": ("t5", {"target_modules": ["encoder.embed_tokens", "q"]}),
}


@pytest.mark.parametrize("case", TIED)
@pytest.mark.parametrize("tied", [True, False])
def test_only_what_the_adapter_names_changes(tmp_path: Path, case: str, *, tied: bool) -> None:
    family, settings = TIED[case]
    if "ensure_weight_tying" in settings and not tied:
        settings = {**settings, "ensure_weight_tying": False}
    task, kind = SEQ2SEQ if family == "t5" else CAUSAL
    base = models(family, tied=tied)
    base.save_pretrained(tmp_path / "base")
    plain = answer(base.eval())
    right = answer(tune(base, tmp_path / "adapter", kind, settings))
    assert not torch.allclose(plain, right, atol=1e-2)
    made = tuned(load_model(tmp_path / "base", task), tmp_path / "adapter")
    torch.testing.assert_close(answer(made), right, atol=2e-4, rtol=1e-4)
    reference = open_original(joined(tmp_path / "base", tmp_path / "adapter"), task)
    torch.testing.assert_close(answer(reference), right, atol=1e-5, rtol=1e-5)


def test_a_tied_head_stays_apart(tmp_path: Path) -> None:
    base = models("llama", tied=True)
    base.save_pretrained(tmp_path / "base")
    right = answer(tune(base, tmp_path / "adapter", "CAUSAL_LM", {"target_modules": ["lm_head"]}))
    model: Any = load_model(tmp_path / "base", "text-generation")
    (change,) = low_rank(model, tmp_path / "adapter", "x").values()
    hidden = model.model(IDS).last_hidden_state
    torch.testing.assert_close(model.lm_head(hidden) + hidden @ change.a @ change.b, right, atol=1e-4, rtol=1e-4)


def test_an_adapter_with_a_table_of_its_own_does_not_stay_apart(tmp_path: Path) -> None:
    base = models("llama", tied=True)
    base.save_pretrained(tmp_path / "base")
    tune(base, tmp_path / "adapter", "CAUSAL_LM", {"target_modules": ["q_proj"]}, GROWN)
    with pytest.raises(CheckpointError, match="cannot be kept apart") as caught:
        low_rank(load_model(tmp_path / "base", "text-generation"), tmp_path / "adapter", "x")
    assert "weights of its own: base_model.model.lm_head" in caught.value.found


GROWTH: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "llama": ("llama", True, {"target_modules": ["q_proj"]}),
    "llama-untied": ("llama", False, {"target_modules": ["q_proj"]}),
    "llama-table": ("llama", False, {"target_modules": ["embed_tokens", "lm_head"]}),
    "llama-tied-table": ("llama", True, {"target_modules": ["embed_tokens"]}),
    "llama-tied-both": ("llama", True, {"target_modules": ["embed_tokens", "lm_head"]}),
    "llama-tied-together": (
        "llama",
        True,
        {"target_modules": ["embed_tokens", "lm_head"], "ensure_weight_tying": True},
    ),
    "llama-saved": ("llama", True, {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}),
    "llama-saved-together": (
        "llama",
        True,
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "llama-tokens": ("llama", True, {"target_modules": ["q_proj"], "trainable_token_indices": [3, ROWS, GROWN - 1]}),
    "llama-untied-tokens": (
        "llama",
        False,
        {"target_modules": ["q_proj"], "trainable_token_indices": [3, ROWS, GROWN - 1]},
    ),
    "llama-tokens-of-both": (
        "llama",
        False,
        {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3, ROWS], "lm_head": [5, ROWS]}},
    ),
    "gpt2": ("gpt2", True, {"target_modules": ["c_attn"], "modules_to_save": ["wte", "lm_head"]}),
    "neox": ("neox", False, {"target_modules": ["query_key_value"], "modules_to_save": ["embed_in", "lm_head"]}),
    "bert": ("bert", True, {"target_modules": ["query"]}),
    "t5": ("t5", True, {"target_modules": ["q"]}),
    "t5-untied": ("t5", False, {"target_modules": ["q"], "modules_to_save": ["lm_head"]}),
}


@pytest.mark.parametrize("case", GROWTH)
def test_a_vocabulary_that_grew_in_training(tmp_path: Path, case: str) -> None:
    family, tied, settings = GROWTH[case]
    task, kind = {"t5": SEQ2SEQ, "bert": ("fill-mask", None)}.get(family, CAUSAL)
    base = models(family, tied=tied)
    base.save_pretrained(tmp_path / "base")
    ids = torch.tensor([[5, GROWN - 1, 12, ROWS, 7]])
    right = answer(tune(base, tmp_path / "adapter", kind, settings, GROWN), ids)
    made = tuned(load_model(tmp_path / "base", task), tmp_path / "adapter")
    torch.testing.assert_close(answer(made, ids), right, atol=2e-4, rtol=1e-4)
    reference = open_original(joined(tmp_path / "base", tmp_path / "adapter"), task)
    torch.testing.assert_close(answer(reference, ids), right, atol=1e-5, rtol=1e-5)


def test_new_rows_that_nobody_saved_are_refused(tmp_path: Path) -> None:
    base = models("llama", tied=False)
    base.save_pretrained(tmp_path / "base")
    tune(base, tmp_path / "adapter", "CAUSAL_LM", {"target_modules": ["q_proj"]}, GROWN)
    path = tmp_path / "adapter" / WEIGHTS
    kept = {name: tensor for name, tensor in load_file(path).items() if "lm_head" not in name}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="not all new rows") as caught:
        tuned(load_model(tmp_path / "base", "text-generation"), tmp_path / "adapter")
    assert "lm_head" in caught.value.found


@pytest.mark.parametrize("family", ["bart", "xlnet"])
def test_an_adapter_without_a_head_is_named_as_its_user_knows_it(tmp_path: Path, family: str) -> None:
    if family == "bart":
        sizes = {f"{half}_{part}": 2 for half in ("encoder", "decoder") for part in ("layers", "attention_heads")}
        config: Any = transformers.BartConfig(
            **sizes, d_model=32, encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=ROWS
        )
        model, targets = transformers.BartModel(config), ["q_proj"]
    else:
        config = transformers.XLNetConfig(d_model=32, n_layer=1, n_head=4, d_inner=32, vocab_size=ROWS)
        model, targets = transformers.XLNetModel(config), ["layer_1"]
    model.save_pretrained(tmp_path / "base")
    tune(model, tmp_path / "adapter", "FEATURE_EXTRACTION", {"target_modules": targets})
    peft_adapters.changed(tmp_path / "adapter", task_type="SEQ_CLS")
    (tmp_path / "adapter" / "origin.txt").write_text("my-adapter")
    config_file = tmp_path / "base" / "config.json"
    labels = {str(index): f"LABEL_{index}" for index in range(2)}
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "id2label": labels}))
    with pytest.raises(CheckpointError, match=r"^my-adapter: no trained weights"):
        load_model(joined(tmp_path / "base", tmp_path / "adapter"), "text-classification")

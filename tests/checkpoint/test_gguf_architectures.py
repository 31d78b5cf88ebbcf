"""GGUF files of other architectures than Llama's: checkpoint and reference answer as the model that was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from compiler.checkpoint import resolve
from compiler.checkpoint.gguf_config import complete
from compiler.checkpoint.gguf_original import open_gguf, set_attention
from compiler.errors import CheckpointError
from tests.checkpoint.ggufs import ARCHITECTURES, WORDS, model, write

SHORT, LONG = [1.0, 1.1, 1.3, 2.0], [1.0, 2.0, 4.0, 9.0]
THETA = 30000.0


def roped(**full: Any) -> dict[str, Any]:
    local = {"rope_type": "default", "rope_theta": 7000.0}
    return {"full_attention": {"rope_type": "default", "rope_theta": THETA, **full}, "sliding_attention": local}


LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": THETA,
    "short_factor": SHORT,
    "long_factor": LONG,
    "original_max_position_embeddings": 64,
    "attention_factor": 1.25,
}
TABLES = {"rope_factors_short.weight": SHORT, "rope_factors_long.weight": LONG}
# Changes of the model, and the keys and tables by which the file says so.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    **{name: (name, {}, {}, {}) for name in ARCHITECTURES},
    "inner width": ("gpt2", {"n_inner": 40}, {"feed_forward_length": 40}, {}),
    "head width unsaid": ("qwen3", {"head_dim": 8}, {"attention.key_length": None, "attention.value_length": None}, {}),
    "softcaps": ("gemma2", {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0}, {}, {}),
    "two kinds of layers": (
        "gemma3",
        {"num_hidden_layers": 7, "rope_parameters": roped(rope_type="linear", factor=8.0)},
        {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0, "rope.freq_base_swa": 7000.0},
        {},
    ),
    "a window": ("phi3", {"sliding_window": 9}, {}, {}),
    "longrope": (
        "phi3",
        {"rope_parameters": LONGROPE, "original_max_position_embeddings": 64},
        {"rope.scaling.attn_factor": 1.25},
        TABLES,
    ),
    "yarn": (
        "qwen2",
        {"rope_parameters": {
            "rope_type": "yarn", "rope_theta": THETA, "factor": 4.0, "original_max_position_embeddings": 32,
        }},
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32},
        {},
    ),
}  # fmt: skip


def logits(made: Any) -> torch.Tensor:
    with torch.inference_mode():
        return made(torch.arange(3, 27).repeat(2)[None]).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES)
def test_checkpoint_and_reference_answer_as_the_model_that_was_written(case: str, tmp_path: Path) -> None:
    architecture, changes, keys, tables = CASES[case]
    right = model(architecture, **changes)
    path = write(tmp_path / "m.gguf", architecture, right, keys, tables)
    folder = resolve(str(path), cache=tmp_path / "cache").folder
    made = AutoModelForCausalLM.from_pretrained(folder)
    if not architecture.startswith("gemma"):  # whose class has a token of its own
        assert len(AutoTokenizer.from_pretrained(folder)) == len(WORDS)
    expected = logits(right)
    torch.testing.assert_close(logits(made), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        logits(open_gguf(path, AutoModelForCausalLM, torch.float32)), expected, rtol=1e-3, atol=1e-3
    )
    if changes and not changes.keys() & {"num_hidden_layers", "head_dim", "n_inner"}:
        assert (logits(model(architecture)) - expected).abs().max() > 0.01  # what a dropped key would give


def test_files_beside_a_gguf_say_nothing_about_it(tmp_path: Path) -> None:
    """Another model's tokenizer, settings and adapter in the folder that it was downloaded to."""
    right = model("llama")
    alone, path = tmp_path / "alone", tmp_path / "beside"
    alone.mkdir()
    path.mkdir()
    write(path / "m.gguf", "llama", right)
    (alone / "m.gguf").write_bytes((path / "m.gguf").read_bytes())
    expected = resolve(str(alone / "m.gguf"), cache=tmp_path / "first").folder
    tokenizer = json.loads((expected / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["to"], words["e"] = words["e"], words["to"]
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "tokenizer_config.json").write_text('{"chat_template": "another model", "model_max_length": 7}')
    (path / "generation_config.json").write_text('{"repetition_penalty": 3.0}')
    (path / "config.json").write_text('{"model_type": "llama", "hidden_act": "gelu"}')
    (path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "another model"}')
    found = resolve(str(path / "m.gguf"), cache=tmp_path / "second").folder
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    made = open_gguf(path / "m.gguf", AutoModelForCausalLM, torch.float32)
    torch.testing.assert_close(logits(made), logits(right), rtol=1e-3, atol=1e-3)
    assert AutoTokenizer.from_pretrained(found)("to e", add_special_tokens=False)["input_ids"][0] == WORDS.index("to")


@pytest.mark.parametrize(("architecture", "layers"), [("gemma2", 46), ("gemma3", 62)])
def test_the_largest_gemma_scales_its_scores_by_another_width(architecture: str, layers: int) -> None:
    """llama.cpp knows it by the number of layers; the file says nothing."""
    made = model(architecture)
    for count, width in ((layers, 8), (layers - 1, 16)):
        sizes = {"embedding_length": 32, "attention.head_count": 4, "attention.key_length": 16, "block_count": count}
        metadata = {f"{architecture}.{key}": value for key, value in sizes.items()}
        metadata |= {"general.architecture": architecture, f"{architecture}.attention.sliding_window": 16}
        config = type(made.config)(num_hidden_layers=count, head_dim=16)
        complete(Path("m.gguf"), metadata, config)
        assert config.query_pre_attn_scalar == width
        set_attention(made, metadata)
        scales = [module.scaling for module in made.modules() if hasattr(module, "q_proj")]
        assert scales == pytest.approx([width**-0.5] * 2)


@pytest.mark.parametrize("factors", [{"rope_factors_long.weight": LONG}, {**TABLES, "rope_freqs.weight": SHORT}])
def test_tables_that_do_not_go_together_are_refused(factors: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", "phi3", model("phi3"), tables=factors)
    with pytest.raises(CheckpointError, match="rope scaling"):
        resolve(str(path), cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("architecture", "keys", "named"),
    [
        ("gemma3", {"attention.sliding_window": None}, "sliding_window"),
        ("gemma3", {"attention.sliding_window_pattern": 4}, "sliding_window_pattern"),
        ("qwen2", {"rope.scaling.attn_factor": 1.5}, "attn_factor"),
        ("qwen2", {"rope.freq_base_swa": 7000.0}, "freq_base_swa"),
        ("qwen3", {"attention.value_length": 8}, "value_length"),
    ],
)
def test_what_would_be_left_out_is_refused_by_name(
    architecture: str, keys: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.gguf", architecture, model(architecture), keys)
    with pytest.raises(CheckpointError, match=named):
        resolve(str(path), cache=tmp_path / "cache")

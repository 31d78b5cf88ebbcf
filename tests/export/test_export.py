"""export: what the portable graph looks like, and that it computes what PyTorch computes on shapes it never saw."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
import transformers

from compiler.checkpoint import Checkpoint
from compiler.errors import ExportError
from compiler.export import portable
from compiler.export.graph_inputs import signature
from compiler.export.trace import trace

CONTEXT, VOCABULARY = 64, 96
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
DECODER = {**SIZE, "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "pad_token_id": 0}
GROUPED = {**DECODER, "num_key_value_heads": 2}

DECODERS: dict[str, tuple[Any, Counter[str]]] = {
    "llama": (
        lambda: transformers.LlamaConfig(**GROUPED, tie_word_embeddings=True),
        Counter(Attention=2, RMSNormalization=5, RotaryEmbedding=4),
    ),
    "gpt2": (
        lambda: transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2
        ),
        Counter(Attention=2, LayerNormalization=5),
    ),
    "mistral with a window": (
        lambda: transformers.MistralConfig(**GROUPED, sliding_window=8, head_dim=8),
        Counter(Attention=2, RMSNormalization=5, RotaryEmbedding=4),
    ),
    "qwen3 with normed heads": (
        lambda: transformers.Qwen3Config(**GROUPED, head_dim=8),
        Counter(Attention=2, RMSNormalization=9, RotaryEmbedding=4),
    ),
    "gemma2 with soft caps": (
        lambda: transformers.Gemma2Config(**GROUPED, head_dim=8, sliding_window=8, query_pre_attn_scalar=8),
        Counter(Attention=2, RMSNormalization=9, RotaryEmbedding=4),
    ),
    "gpt_neo, off the interface": (
        lambda: transformers.GPTNeoConfig(
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=8,
            intermediate_size=48,
            max_position_embeddings=CONTEXT,
            vocab_size=VOCABULARY,
            bos_token_id=1,
            eos_token_id=2,
        ),
        Counter(LayerNormalization=5),
    ),
}

ARCHITECTURES = {"gpt2": "GPT2LMHeadModel"}

ENCODERS: dict[str, tuple[Any, str, str, Counter[str]]] = {
    "bert": (lambda: transformers.BertConfig(**DECODER), "BertModel", "feature-extraction", Counter(Attention=2)),
    "roberta": (
        lambda: transformers.RobertaConfig(**DECODER),
        "RobertaForMaskedLM",
        "fill-mask",
        Counter(Attention=2),
    ),
    "electra": (
        lambda: transformers.ElectraConfig(**DECODER, embedding_size=16),
        "ElectraForSequenceClassification",
        "text-classification",
        Counter(Attention=2),
    ),
    "distilbert": (
        lambda: transformers.DistilBertConfig(
            dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=VOCABULARY, max_position_embeddings=CONTEXT
        ),
        "DistilBertForTokenClassification",
        "token-classification",
        Counter(Attention=2),
    ),
}


def exported(model: Any, task: str, folder: Path) -> ir.Model:
    """Trace `model` and read the saved graph back."""
    traced = signature(model, task)
    graph = trace(model, traced, CONTEXT)
    portable.tidy(graph, traced)
    return ir.load(portable.save(graph, folder))


def build(config: Any, architecture: str) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, architecture)._from_config(config, attn_implementation="eager").eval()


def holds(graph: ir.Model, wanted: Counter[str]) -> bool:
    found = Counter(node.op_type for node in graph.graph)
    return all(found[name] == count for name, count in wanted.items())


@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_serves_prompt_and_continuation_with_one_graph(family: str, tmp_path: Path) -> None:
    make, wanted = DECODERS[family]
    config = make()
    model = build(config, ARCHITECTURES.get(family, type(config).__name__.replace("Config", "ForCausalLM")))
    length = 21  # past the windows
    ids = torch.randint(3, VOCABULARY, (2, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(input_ids=ids).logits.numpy()
    graph = exported(model, "text-generation", tmp_path)
    assert holds(graph, wanted), Counter(node.op_type for node in graph.graph)

    session = ort.InferenceSession(tmp_path / portable.MODEL)
    past = {
        value.name: np.zeros((2, value.shape[1], 0, value.shape[3]), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
    names = [value.name for value in session.get_outputs()]
    for start, end in ((0, 17), (17, 18), (18, length)):
        feeds = {
            "input_ids": ids[:, start:end].numpy(),
            "attention_mask": np.ones((2, end), np.int64),
            "position_ids": np.broadcast_to(np.arange(start, end), (2, end - start)).copy(),
        }
        used = {value.name for value in session.get_inputs()}
        answer = dict(
            zip(names, session.run(names, {**{k: v for k, v in feeds.items() if k in used}, **past}), strict=True)
        )
        np.testing.assert_allclose(answer["logits"], expected[:, start:end], atol=2e-4)
        past = {name.replace("present.", "past_key_values."): answer[name] for name in names if name != "logits"}


def test_equal_axes_share_one_name_and_nodes_know_their_module(tmp_path: Path) -> None:
    graph = exported(build(DECODERS["llama"][0](), "LlamaForCausalLM"), "text-generation", tmp_path).graph
    shapes = {value.name: [str(dim) for dim in value.shape] for value in [*graph.inputs, *graph.outputs]}
    assert shapes["input_ids"] == ["batch", "sequence"]
    assert shapes["attention_mask"] == ["batch", "total_sequence"]
    assert shapes["past_key_values.1.value"] == ["batch", "2", "past_sequence", "8"]
    assert shapes["present.0.key"] == ["batch", "2", "total_sequence", "8"]
    assert shapes["logits"] == ["batch", "sequence", str(VOCABULARY)]
    modules = {node.metadata_props["module"] for node in graph if node.op_type == "MatMul"}
    assert {"model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "lm_head"} <= modules


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    model = build(DECODERS["llama"][0](), "LlamaForCausalLM")
    graph = exported(model, "text-generation", tmp_path).graph
    tables = [value for value in graph.initializers.values() if VOCABULARY in value.shape]
    assert len(tables) == 1
    stored = sum(value.const_value.nbytes for value in graph.initializers.values())
    assert stored < 4 * sum(parameter.numel() for parameter in model.parameters()) + 4096


@pytest.mark.parametrize("family", ENCODERS)
def test_an_encoder_agrees_under_padding(family: str, tmp_path: Path) -> None:
    make, architecture, task, wanted = ENCODERS[family]
    model = build(make(), architecture)
    ids = torch.randint(3, VOCABULARY, (3, 11), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    mask[2, 9:] = 0
    with torch.no_grad():
        answer = model(input_ids=ids, attention_mask=mask)
    graph = exported(model, task, tmp_path)
    assert holds(graph, wanted), Counter(node.op_type for node in graph.graph)
    session = ort.InferenceSession(tmp_path / portable.MODEL)
    feeds = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "token_type_ids": np.zeros((3, 11), np.int64)}
    used = {value.name for value in session.get_inputs()}
    assert "attention_mask" in used
    (found,) = session.run(None, {name: array for name, array in feeds.items() if name in used})
    expected = answer[session.get_outputs()[0].name].numpy()
    valid = mask.numpy().astype(bool) if found.ndim == 3 else np.ones(3, bool)
    np.testing.assert_allclose(found[valid], expected[valid], atol=1e-5)


def test_a_model_that_cannot_be_traced_names_the_module(tmp_path: Path) -> None:
    model = build(ENCODERS["bert"][0](), "BertModel")

    def forward(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        raise ValueError("this layer cannot be traced")

    model.encoder.layer[1].forward = forward
    with pytest.raises(ExportError, match="this layer cannot be traced") as caught:
        exported(model, "feature-extraction", tmp_path)
    assert "BertEncoder" in caught.value.found
    assert not list(tmp_path.iterdir())


def test_a_norm_with_another_formula_is_traced_as_written(tmp_path: Path) -> None:
    model = build(DECODERS["llama"][0](), "LlamaForCausalLM")
    norm = type(model.model.norm)

    class OddRMSNorm(norm):  # type: ignore[misc,valid-type]
        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden_states) * 1.01

    odd = OddRMSNorm(32)
    model.model.norm = odd
    graph = exported(model, "text-generation", tmp_path)
    assert holds(graph, Counter(RMSNormalization=4))


def test_a_checkpoint_names_its_architecture() -> None:
    checkpoint = Checkpoint(source=None, folder=Path(), task="fill-mask", config={"model_type": "bert"})  # type: ignore[arg-type]
    assert checkpoint.architecture == "bert"

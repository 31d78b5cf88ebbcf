"""export: what the portable graph looks like, and what is said of a model that cannot be traced."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch
import transformers

from compiler.checkpoint import Checkpoint
from compiler.errors import ExportError
from compiler.export import portable
from compiler.export.attention import attention
from compiler.export.graph_inputs import signature
from compiler.export.trace import trace

CONTEXT, VOCABULARY = 64, 96
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
DECODER = {**SIZE, "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "pad_token_id": 0}
LLAMA = transformers.LlamaConfig(**DECODER, num_key_value_heads=2, tie_word_embeddings=True)
BERT = transformers.BertConfig(**DECODER)


def exported(model: Any, task: str, folder: Path) -> ir.Model:
    """Trace `model` and read the saved graph back."""
    traced = signature(model, task)
    graph, _ = trace(model, traced, CONTEXT)
    portable.tidy(graph, traced)
    return ir.load(portable.save(graph, folder))


def build(config: Any, architecture: str) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, architecture)._from_config(config, attn_implementation="eager").eval()


def holds(graph: ir.Model, wanted: Counter[str]) -> bool:
    found = Counter(node.op_type for node in graph.graph)
    return all(found[name] == count for name, count in wanted.items())


def test_equal_axes_share_one_name_and_nodes_know_their_module(tmp_path: Path) -> None:
    graph = exported(build(LLAMA, "LlamaForCausalLM"), "text-generation", tmp_path).graph
    shapes = {value.name: [str(dim) for dim in value.shape] for value in [*graph.inputs, *graph.outputs]}
    assert shapes["input_ids"] == ["batch", "sequence"]
    assert shapes["attention_mask"] == ["batch", "total_sequence"]
    assert shapes["past_key_values.1.value"] == ["batch", "2", "past_sequence", "8"]
    assert shapes["present.0.key"] == ["batch", "2", "total_sequence", "8"]
    assert shapes["logits"] == ["batch", "sequence", str(VOCABULARY)]
    modules = {node.metadata_props["module"] for node in graph if node.op_type == "MatMul"}
    assert {"model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "lm_head"} <= modules


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    model = build(LLAMA, "LlamaForCausalLM")
    graph = exported(model, "text-generation", tmp_path).graph
    tables = [value for value in graph.initializers.values() if VOCABULARY in value.shape]
    assert len(tables) == 1
    stored = sum(value.const_value.nbytes for value in graph.initializers.values())
    assert stored < 4 * sum(parameter.numel() for parameter in model.parameters()) + 4096


def test_a_model_that_cannot_be_traced_names_the_module(tmp_path: Path) -> None:
    model = build(BERT, "BertModel")

    def forward(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        raise ValueError("this layer cannot be traced")

    model.encoder.layer[1].forward = forward
    with pytest.raises(ExportError, match="this layer cannot be traced") as caught:
        exported(model, "feature-extraction", tmp_path)
    assert "BertEncoder" in caught.value.found
    assert not list(tmp_path.iterdir())


def test_a_branch_on_numbers_is_refused_without_a_printed_graph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Odd(torch.nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states if states.sum() > 0 else -states

    model = build(BERT, "BertModel")
    model.encoder.layer[1].intermediate.intermediate_act_fn = Odd()
    with pytest.raises(ExportError, match="cannot be traced"):
        exported(model, "feature-extraction", tmp_path)
    assert "def forward" not in "".join(capsys.readouterr())


def test_an_operator_that_onnx_does_not_have_names_the_module(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states + torch.linalg.eigh(states.transpose(1, 2) @ states)[1].sum(dim=1, keepdim=True)

    model = build(BERT, "BertModel")
    model.encoder.layer[1].intermediate.intermediate_act_fn = Odd()
    with pytest.raises(ExportError, match="eigh") as caught:
        exported(model, "feature-extraction", tmp_path)
    assert "encoder.layer.1.intermediate.intermediate_act_fn (Odd)" in caught.value.found


def test_attention_with_a_tensor_that_is_not_known_is_refused() -> None:
    states = torch.zeros(1, 2, 3, 4)
    with pytest.raises(NotImplementedError, match="Linear gives its attention gates"):
        attention(torch.nn.Linear(1, 1), states, states, states, None, gates=states)


def test_a_norm_with_another_formula_is_traced_as_written(tmp_path: Path) -> None:
    model = build(LLAMA, "LlamaForCausalLM")
    norm = type(model.model.norm)

    class OddRMSNorm(norm):  # type: ignore[misc,valid-type]
        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden_states) * 1.01

    odd = OddRMSNorm(32)
    model.model.norm = odd
    graph = exported(model, "text-generation", tmp_path)
    assert holds(graph, Counter(RMSNormalization=4))


def test_a_checkpoint_names_its_architecture() -> None:
    checkpoint = Checkpoint(source=None, folder=Path(), task="fill-mask", config={"model_type": "bert"}, location="x")  # type: ignore[arg-type]
    assert checkpoint.architecture == "bert"

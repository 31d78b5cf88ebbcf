"""A small bundle of an encoder-decoder: random weights, one layer, a cache that grows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from onnx import TensorProto

from compiler import bundle
from compiler.records import CacheShape, Graph, Tensor
from tests import models as tiny

SETTINGS = {"decoder_start_token_id": 1, "eos_token_id": [2], "pad_token_id": 0, "max_length": 20, "num_beams": 1}
CACHED = ("batch", tiny.KV_HEADS, "past_sequence", tiny.HEAD_DIM)
CROSSED = tuple(
    Tensor(
        name=f"cross_key_values.0.{part}",
        dtype="float32",
        shape=("batch", tiny.KV_HEADS, "encoder_sequence", tiny.HEAD_DIM),
    )
    for part in ("key", "value")
)


def write(folder: Path) -> Path:
    """A sealed bundle in a new folder."""
    folder.mkdir(parents=True)
    read, said = _encoder(folder / "encoder.onnx")
    inputs, outputs = _decoder(folder / "model.onnx")
    tiny.write_tokenizer(folder, bos=True)
    (folder / "generation_config.json").write_text(json.dumps(SETTINGS))
    made = replace(
        tiny.manifest("encoder-decoder", inputs, outputs, layout="concatenated"),
        task="text2text-generation",
        cache=CacheShape(layers=1, kv_heads=tiny.KV_HEADS, head_dim=tiny.HEAD_DIM),
        encoder=Graph(model="encoder.onnx", inputs=read, outputs=said),
    )
    bundle.seal(folder, made)
    return folder


def _encoder(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    shape = ("batch", "encoder_sequence")
    inputs = tuple(Tensor(name=name, dtype="int64", shape=shape) for name in ("input_ids", "attention_mask"))
    graph = tiny.Graph()
    states = graph.add("Gather", graph.weight(tiny.VOCABULARY, tiny.HIDDEN), "input_ids")
    seen = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    states = graph.add("Mul", states, graph.add("Unsqueeze", seen, graph.constant(np.array([-1]))))
    for tensor in CROSSED:
        graph.rename(_heads(graph, states, tiny.KV_HEADS), tensor.name)
    graph.save(path, inputs, CROSSED)
    return inputs, CROSSED


def _decoder(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    inputs = (
        Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),
        Tensor(name="attention_mask", dtype="int64", shape=("batch", "total_sequence")),
        Tensor(name="encoder_attention_mask", dtype="int64", shape=("batch", "encoder_sequence")),
        *CROSSED,
        *(Tensor(name=f"past_key_values.0.{part}", dtype="float32", shape=CACHED) for part in ("key", "value")),
    )
    grown = tuple(dim if dim != "past_sequence" else "total_sequence" for dim in CACHED)
    outputs = (
        Tensor(name="logits", dtype="float32", shape=("batch", "sequence", tiny.VOCABULARY)),
        *(Tensor(name=f"present.0.{part}", dtype="float32", shape=grown) for part in ("key", "value")),
    )
    graph = tiny.Graph(1)
    states = graph.add("Gather", graph.weight(tiny.VOCABULARY, tiny.HIDDEN), "input_ids")
    for part in ("key", "value"):
        graph.add("Concat", f"past_key_values.0.{part}", _heads(graph, states, tiny.KV_HEADS), axis=2)
        graph.nodes[-1].output[0] = f"present.0.{part}"
    own = _mask(graph, "attention_mask")
    states = graph.add("Add", states, _attention(graph, states, ("present.0.key", "present.0.value"), own))
    others = _mask(graph, "encoder_attention_mask")
    states = graph.add("Add", states, _attention(graph, states, tuple(each.name for each in CROSSED), others))
    graph.rename(graph.add("MatMul", states, graph.weight(tiny.HIDDEN, tiny.VOCABULARY)), "logits")
    graph.save(path, inputs, outputs)
    return inputs, outputs


def _mask(graph: tiny.Graph, name: str) -> str:
    """(batch, 1, sequence, columns) bool of a mask (batch, columns): the kernel wants a row for every token."""
    seen = graph.add("Unsqueeze", graph.add("Cast", name, to=TensorProto.BOOL), graph.constant(np.array([1, 2])))
    rows = graph.add("Unsqueeze", "input_ids", graph.constant(np.array([1, 3])))
    return graph.add("And", seen, graph.add("GreaterOrEqual", rows, graph.constant(np.array(0))))


def _heads(graph: tiny.Graph, states: str, heads: int) -> str:
    """(batch, heads, sequence, head_dim) of the states (batch, sequence, hidden)."""
    made = graph.add("MatMul", states, graph.weight(tiny.HIDDEN, heads * tiny.HEAD_DIM))
    parts = graph.add("Reshape", made, graph.constant(np.array([0, 0, heads, tiny.HEAD_DIM])))
    return graph.add("Transpose", parts, perm=[0, 2, 1, 3])


def _attention(graph: tiny.Graph, states: str, cached: tuple[str, ...], seen: str) -> str:
    mixed = graph.add("Attention", _heads(graph, states, tiny.HEADS), *cached, seen)
    joined = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
    return graph.add("Reshape", joined, graph.constant(np.array([0, 0, tiny.HIDDEN])))

"""Small models as TensorRT is given them: standard operators of opset 24, the precision in the graph."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from compiler.records import CacheShape, Exported, Graph, Optimized, PlanOptions, Shapes, Source, Tensor
from tests import models

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, CAPACITY = 64, 4, 2, 16, 40, 64
SHAPES: Shapes = {"batch": (1, 1, 4), "sequence": (1, 8, 32)}
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}
QUANTIZED = {
    "int8": np.int8,
    "float8": ml_dtypes.float8_e4m3fn,
    "int4": ml_dtypes.int4,
    "float4": ml_dtypes.float4_e2m1fn,
}

Signature = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


class Standard(models.Graph):
    """A graph without operators of ONNX Runtime's own."""

    opsets: tuple[tuple[str, int], ...] = (("", 24),)

    def save(self, path: Path, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        values = [
            [helper.make_tensor_value_info(each.name, TYPES[each.dtype], each.shape) for each in tensors]
            for tensors in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "tiny", *values, self.weights)
        opsets = [helper.make_opsetid(*each) for each in self.opsets]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=11), path)

    def normalized(self, states: str, dtype: str, module: str) -> str:
        """LayerNormalization."""
        ones, zeros = (self.constant(make(HIDDEN, dtype)) for make in (np.ones, np.zeros))
        return self.add("LayerNormalization", states, ones, zeros, axis=-1, module=module)

    def matrix(self, rows: int, columns: int, dtype: str) -> str:
        return self.constant(self.random.normal(0, rows**-0.5, (rows, columns)).astype(dtype))

    def heads(self, states: str, count: int, dtype: str, module: str) -> str:
        """A projection to (batch, count, sequence, HEAD_DIM)."""
        product = self.add("MatMul", states, self.matrix(HIDDEN, count * HEAD_DIM, dtype), module=module)
        split = self.add("Reshape", product, self.constant(np.array([0, 0, count, HEAD_DIM])), module=module)
        return self.add("Transpose", split, perm=[0, 2, 1, 3], module=module)

    def joined(self, mixed: str, dtype: str, module: str) -> str:
        """Heads back to (batch, sequence, HIDDEN), and the output projection."""
        rows = self.add("Transpose", mixed, perm=[0, 2, 1, 3], module=module)
        whole = self.add("Reshape", rows, self.constant(np.array([0, 0, HIDDEN])), module=module)
        return self.add("MatMul", whole, self.matrix(HIDDEN, HIDDEN, dtype), module=module)


def encoder(path: Path, dtype: str = "float32") -> Signature:
    """One layer with masked attention and LayerNormalization."""
    ids = ("batch", "sequence")
    inputs = tuple(Tensor(name=name, dtype="int64", shape=ids) for name in ("input_ids", "attention_mask"))
    outputs = (Tensor(name="last_hidden_state", dtype="float32", shape=(*ids, HIDDEN)),)
    graph = Standard()
    states = graph.add("Gather", graph.matrix(VOCABULARY, HIDDEN, dtype), "input_ids", module="embeddings")
    states = graph.normalized(states, dtype, "embeddings.LayerNorm")
    real = graph.add("Cast", "attention_mask", to=TensorProto.BOOL)
    rows = graph.add("Unsqueeze", "input_ids", graph.constant(np.array([1, 3])))
    rows = graph.add("GreaterOrEqual", rows, graph.constant(np.array(0)))
    mask = graph.add("And", graph.add("Unsqueeze", real, graph.constant(np.array([1, 2]))), rows)
    query, key, value = (graph.heads(states, HEADS, dtype, f"layer.0.{part}") for part in ("query", "key", "value"))
    mixed = graph.add("Attention", query, key, value, mask, module="layer.0.attention")
    states = graph.add("Add", states, graph.joined(mixed, dtype, "layer.0.output"))
    states = graph.normalized(states, dtype, "layer.0.LayerNorm")
    graph.add("Cast", states, to=TensorProto.FLOAT)
    graph.nodes[-1].output[0] = "last_hidden_state"
    graph.save(path, inputs, outputs)
    return inputs, outputs


def decoder(path: Path, dtype: str = "float32") -> Signature:
    """One layer whose cache of fixed capacity TensorScatter fills."""
    ids, cache = ("batch", "sequence"), ("batch", KV_HEADS, CAPACITY, HEAD_DIM)
    inputs = (
        Tensor(name="input_ids", dtype="int64", shape=ids),
        Tensor(name="position_ids", dtype="int64", shape=ids),
        *(Tensor(name=f"past_key_values.0.{part}", dtype=dtype, shape=cache) for part in ("key", "value")),
    )
    outputs = (
        Tensor(name="logits", dtype="float32", shape=(*ids, VOCABULARY)),
        *(Tensor(name=f"present.0.{part}", dtype=dtype, shape=cache) for part in ("key", "value")),
    )
    graph = Standard()
    zero, one, axis = (graph.constant(np.array([number])) for number in (0, 1, 1))
    first = graph.add("Squeeze", graph.add("Slice", "position_ids", zero, one, axis), axis)
    columns = graph.constant(np.arange(CAPACITY))
    rows = graph.add("Unsqueeze", "position_ids", graph.constant(np.array([1, 3])))
    mask = graph.add("LessOrEqual", columns, rows)
    states = graph.add("Gather", graph.matrix(VOCABULARY, HIDDEN, dtype), "input_ids", module="model.embed_tokens")
    query = graph.heads(states, HEADS, dtype, "model.layers.0.q_proj")
    for part in ("key", "value"):
        new = graph.heads(states, KV_HEADS, dtype, f"model.layers.0.{part[0]}_proj")
        graph.add("TensorScatter", f"past_key_values.0.{part}", new, first, axis=-2)
        graph.nodes[-1].output[0] = f"present.0.{part}"
    mixed = graph.add("Attention", query, "present.0.key", "present.0.value", mask, module="model.layers.0.self_attn")
    states = graph.add("Add", states, graph.joined(mixed, dtype, "model.layers.0.o_proj"))
    logits = graph.add("MatMul", states, graph.matrix(HIDDEN, VOCABULARY, dtype), module="lm_head")
    graph.add("Cast", logits, to=TensorProto.FLOAT)
    graph.nodes[-1].output[0] = "logits"
    graph.save(path, inputs, outputs)
    return inputs, outputs


def quantized(path: Path, format_: str, zero_point: int = 0) -> Signature:
    """A product of `x` with a weight of that format; of int8 and float8 `x` is quantized too."""
    inputs = (Tensor(name="x", dtype="float16", shape=("batch", "sequence", HIDDEN)),)
    outputs = (Tensor(name="y", dtype="float16", shape=("batch", "sequence", HIDDEN)),)
    graph = Standard()
    kind, blocks = QUANTIZED[format_], {"int4": 32, "float4": 16}.get(format_, 0)
    scale = graph.constant(np.full((HIDDEN // blocks, HIDDEN) if blocks else (), 0.02, np.float16))
    weight = graph.constant(graph.random.integers(-6, 6, (HIDDEN, HIDDEN)).astype(np.float32).astype(kind))
    states = "x"
    if not blocks:
        zero = graph.constant(np.array(zero_point).astype(kind))
        whole = graph.add("QuantizeLinear", "x", scale, zero, module="layer.0.dense")
        states = graph.add("DequantizeLinear", whole, scale, zero, module="layer.0.dense")
    options = {"axis": 0, "block_size": blocks} if blocks else {}
    restored = graph.add("DequantizeLinear", weight, scale, module="layer.0.dense", **options)
    graph.add("MatMul", states, restored, module="layer.0.dense")
    graph.nodes[-1].output[0] = "y"
    graph.save(path, inputs, outputs)
    return inputs, outputs


def adapted(path: Path) -> Signature:
    """A product of `x` with a weight, and with an adapter's matrices."""
    inputs = (
        Tensor(name="x", dtype="float32", shape=("batch", "sequence", HIDDEN)),
        Tensor(name="adapter.layer.0.dense.A", dtype="float32", shape=(HIDDEN, "rank")),
        Tensor(name="adapter.layer.0.dense.B", dtype="float32", shape=("rank", HIDDEN)),
    )
    outputs = (Tensor(name="y", dtype="float32", shape=("batch", "sequence", HIDDEN)),)
    graph = Standard()
    low = graph.add("MatMul", graph.add("MatMul", "x", inputs[1].name), inputs[2].name, module="layer.0.dense")
    graph.add("Add", low, graph.add("MatMul", "x", graph.matrix(HIDDEN, HIDDEN, "float32")))
    graph.nodes[-1].output[0] = "y"
    graph.save(path, inputs, outputs)
    return inputs, outputs


def foreign(path: Path) -> Signature:
    """An operator that only ONNX Runtime has."""
    inputs = (Tensor(name="x", dtype="float32", shape=("batch", "sequence", HIDDEN)),)
    outputs = (Tensor(name="y", dtype="float32", shape=("batch", "sequence", HIDDEN)),)
    graph = Standard()
    graph.opsets = (("", 24), ("com.microsoft", 1))
    graph.add("QuickGelu", "x", domain="com.microsoft", module="layer.0.activation")
    graph.nodes[-1].output[0] = "y"
    graph.save(path, inputs, outputs)
    return inputs, outputs


def optimized(signature: Signature, *, cache: bool = False, encoder: Signature | None = None) -> Optimized:
    """The record of a lowered `model.onnx`, with `encoder_model.onnx` beside it where there is one."""
    inputs, outputs = signature
    shape = CacheShape(layers=1, kv_heads=KV_HEADS, head_dim=HEAD_DIM, layout="shared", capacity=CAPACITY)
    reading = Graph(model="encoder_model.onnx", inputs=encoder[0], outputs=encoder[1]) if encoder else None
    exported = Exported(
        source=Source(kind="folder", name="tiny", digest="0"),
        task="feature-extraction",
        kind="encoder-decoder" if encoder else "decoder" if cache else "encoder",
        architecture="Tiny",
        model_type="tiny",
        model="model.onnx",
        opset=24,
        inputs=inputs,
        outputs=outputs,
        parameters=1,
        context_length=32,
        vocabulary=VOCABULARY,
        seconds=0.0,
        versions={},
    )
    return Optimized(
        exported=exported,
        profile="test",
        precision="test",
        model="model.onnx",
        inputs=inputs,
        outputs=outputs,
        passes=(),
        op_counts={},
        seconds=0.0,
        cache=shape if cache else None,
        encoder=reading,
    )


def options(*targets: str, shapes: tuple[Shapes, ...] = (SHAPES,), **changes: object) -> PlanOptions:
    return PlanOptions(targets=targets, shapes=shapes, **changes)  # type: ignore[arg-type]

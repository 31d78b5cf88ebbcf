"""Graphs as text, and the question that every pass is asked: are the numbers the same?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.machine import detect
from compiler.optimize.execute import Executor
from compiler.optimize.passes import Context, Feeds, Pass
from compiler.records import CacheShape, Exported, Kind, Requires, Source, Tensor

HERE = Requires(architecture=detect().architecture, features=detect().features)
ANY_X86 = Requires(architecture="x86_64")
VNNI = Requires(architecture="x86_64", features=("avx512_vnni",))

HEADER = '<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]>\n'


def graph(text: str, **weights: np.ndarray) -> ir.Model:
    """A model from ONNX text; inputs of the text that are named in `weights` become initializers."""
    model = ir.from_onnx_text(HEADER + text)
    for value in [value for value in model.graph.inputs if value.name in weights]:
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(weights[str(value.name)], name=value.name)
        model.graph.register_initializer(value)
    return model


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def exported(kind: Kind = "encoder", **changes: object) -> Exported:
    """A record with small sizes; `changes` replace fields."""
    ids = ("batch", "sequence")
    fields = {
        "source": Source(kind="folder", name="model", digest="0"),
        "task": "feature-extraction",
        "kind": kind,
        "architecture": "Tiny",
        "model_type": "tiny",
        "model": "model.onnx",
        "opset": 23,
        "inputs": (
            Tensor(name="input_ids", dtype="int64", shape=ids),
            Tensor(name="attention_mask", dtype="int64", shape=ids),
        ),
        "outputs": (Tensor(name="y", dtype="float32", shape=(*ids, 8)),),
        "parameters": 1,
        "context_length": 32,
        "vocabulary": 11,
        "seconds": 0.0,
        "versions": {},
        "cache": CacheShape(layers=1, kv_heads=1, head_dim=4) if kind == "decoder" else None,
    }
    return Exported(**(fields | changes))  # type: ignore[arg-type]


def context(record: Exported | None = None, target: Requires = HERE) -> Context:
    return Context(exported=record or exported(), calibration=list, target=target)


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def apply(pass_: Pass, model: ir.Model, feeds: Mapping[str, np.ndarray], record: Exported | None = None) -> bool:
    """Apply a pass and check what holds for all of them: equal numbers, and a second run that says "unmodified"."""
    before = outputs(model, feeds)
    modified = pass_.apply(model, context(record))
    RemoveUnusedNodesPass()(model)
    after = outputs(model, feeds)
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-5, atol=2e-6, err_msg=name)
    assert not pass_.apply(model, context(record)), "the second run says that it modified the model"
    return modified


def outputs(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> Feeds:
    return Executor().run(model, [dict(feeds)])[0]

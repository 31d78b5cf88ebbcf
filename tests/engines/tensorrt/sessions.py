"""Plans as the fake TensorRT runs them, of a decoder with a cache of fixed capacity and of small graphs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from compiler.engines.plans.files import file_name, model_digest
from compiler.engines.plans.shapes import input_shapes
from compiler.engines.tensorrt.flavors import Flavor
from compiler.engines.tensorrt.runtime.session import PlanSession, open_plan
from compiler.records import CacheShape, EngineOptions, Plan, Shapes, Tensor
from tests import models
from tests.engines.tensorrt.fake_cuda import FakeCuda
from tests.engines.tensorrt.fakes import FakeTensorRT, serialized
from tests.engines.tensorrt.graphs import Standard

CAPACITY = 24
PROMPT: Shapes = {"batch": (1, 2, 5), "sequence": (2, 8, 24), "kept": (1, 1, 1)}
STEP: Shapes = {"batch": (1, 2, 5), "sequence": (1, 1, 1), "kept": (1, 1, 1)}
Signature = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


def cache(dtype: str = "float32") -> CacheShape:
    return CacheShape(**models.CACHE, layout="shared", dtype=dtype, capacity=CAPACITY)  # type: ignore[arg-type]


def aliases() -> dict[str, str]:
    parts = [f"{layer}.{part}" for layer in range(models.LAYERS) for part in ("key", "value")]
    return {f"present.{part}": f"past_key_values.{part}" for part in parts}


def decoder(path: Path, dtype: str = "float32", *, biased: bool = False) -> Signature:
    """The weights of `models.decoder` with TensorScatter; cache and logits are of `dtype`.

    `biased` adds to the last states a row's own "bias" (batch, hidden) and "all" (hidden).
    """
    kind = TensorProto.FLOAT16 if dtype == "float16" else TensorProto.FLOAT
    graph = Standard()
    states = graph.add("Gather", graph.weight(models.VOCABULARY, models.HIDDEN), "input_ids")
    half = models.HEAD_DIM // 2
    angles = np.outer(np.arange(models.CONTEXT), 100.0 ** -(np.arange(half) / half)).astype(np.float32)
    tables = [graph.constant(np.cos(angles)), graph.constant(np.sin(angles))]
    zero, one = graph.constant(np.array([0])), graph.constant(np.array([1]))
    first = graph.add("Squeeze", graph.add("Slice", "position_ids", zero, one, one), one)
    rows = graph.add("Unsqueeze", "position_ids", graph.constant(np.array([1, 3])))
    mask = graph.add("LessOrEqual", graph.constant(np.arange(CAPACITY)), rows)
    turns = [graph.add("Gather", table, "position_ids") for table in tables]

    def heads(count: int) -> str:
        product = graph.add("MatMul", states, graph.weight(models.HIDDEN, count * models.HEAD_DIM))
        split = graph.add("Reshape", product, graph.constant(np.array([0, 0, count, models.HEAD_DIM])))
        return graph.add("Transpose", split, perm=[0, 2, 1, 3])

    for layer in range(models.LAYERS):
        query, key, value = (heads(count) for count in (models.HEADS, models.KV_HEADS, models.KV_HEADS))
        query, key = (graph.add("RotaryEmbedding", part, *turns) for part in (query, key))
        held = []
        for part, new in (("key", key), ("value", value)):
            cast = graph.add("Cast", new, to=kind)
            graph.add("TensorScatter", f"past_key_values.{layer}.{part}", cast, first, axis=-2)
            graph.nodes[-1].output[0] = f"present.{layer}.{part}"
            held.append(graph.add("Cast", f"present.{layer}.{part}", to=TensorProto.FLOAT))
        mixed = graph.add("Transpose", graph.add("Attention", query, *held, mask), perm=[0, 2, 1, 3])
        joined = graph.add("Reshape", mixed, graph.constant(np.array([0, 0, models.HEADS * models.HEAD_DIM])))
        out = graph.add("MatMul", joined, graph.weight(models.HEADS * models.HEAD_DIM, models.HIDDEN))
        states = graph.add("Add", states, out)
    where = graph.add("Unsqueeze", "logits_positions", graph.constant(np.array([-1])))
    states = graph.add("GatherND", states, where, batch_dims=1)
    if biased:
        states = graph.add("Add", graph.add("Add", states, graph.add("Unsqueeze", "bias", one)), "all")
    logits = graph.add("MatMul", states, graph.weight(models.HIDDEN, models.VOCABULARY))
    graph.add("Cast", logits, to=kind)
    graph.nodes[-1].output[0] = "logits"
    signature = _signature(dtype, biased=biased)
    graph.save(path, *signature)
    return signature


def _signature(dtype: str, *, biased: bool) -> Signature:
    shape = ("batch", models.KV_HEADS, CAPACITY, models.HEAD_DIM)
    bias = (
        Tensor(name="bias", dtype="float32", shape=("batch", models.HIDDEN)),
        Tensor(name="all", dtype="float32", shape=(models.HIDDEN,)),
    )
    inputs = (
        Tensor(name="input_ids", dtype="int64", shape=("batch", "sequence")),
        Tensor(name="position_ids", dtype="int64", shape=("batch", "sequence")),
        Tensor(name="logits_positions", dtype="int64", shape=("batch", "kept")),
        *(Tensor(name=past, dtype=dtype, shape=shape) for past in aliases().values()),
        *(bias if biased else ()),
    )
    logits = Tensor(name="logits", dtype=dtype, shape=("batch", "kept", models.VOCABULARY))
    return inputs, (logits, *(Tensor(name=name, dtype=dtype, shape=shape) for name in aliases()))


def nonzero(path: Path) -> Signature:
    """A graph whose output has as many columns as its input has numbers that are not 0."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        sparse (float[batch, sequence] x) => (int64[2, found] where, float[batch, sequence] twice)
        { where = NonZero (x)
          twice = Add (x, x) }
    """)
    onnx.save(model, path)
    return (
        (Tensor(name="x", dtype="float32", shape=("batch", "sequence")),),
        (
            Tensor(name="where", dtype="int64", shape=(2, "found")),
            Tensor(name="twice", dtype="float32", shape=("batch", "sequence")),
        ),
    )


def write_plan(
    model: Path,
    signature: Signature,
    buckets: Sequence[Shapes],
    written_over: Mapping[str, str] | None = None,
    *,
    flags: tuple[str, ...] = (),
    flavor: str = "tensorrt",
    **fake: object,
) -> Plan:
    """Write what the fake reads beside the model, and give its record."""
    inputs, outputs = signature
    profiles = tuple(input_shapes(bucket, inputs) for bucket in buckets)
    content = serialized(model, profiles, written_over, **fake)
    path = model.parent / file_name("sm89")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return Plan(
        target="sm89",
        file=file_name("sm89"),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        flavor=flavor,  # type: ignore[arg-type]
        version="11.4.0.106",
        flags=flags,
        optimization_level=3,
        shapes=profiles,
        inputs=inputs,
        outputs=outputs,
        layers=(),
        model_sha256=model_digest(model, ()),
        key="0",
        seconds=0.0,
        stripped=bool(fake.get("stripped")),
    )


def opened(model: Path, plan: Plan, cuda: FakeCuda, trt: FakeTensorRT | None = None, **options: object) -> PlanSession:
    """A session on the fakes; the driver must have been faked too."""
    flavor = Flavor(plan.flavor, plan.version, trt or FakeTensorRT(cuda))  # type: ignore[arg-type]
    session = open_plan(model, plan, EngineOptions(**options), flavor, cuda)  # type: ignore[arg-type]
    assert isinstance(session, PlanSession)
    return session

"""The tensors between a model's layers, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.engines import Feeds
from compiler.engines.onnxruntime.native import explained, open_native, session_options
from compiler.engines.onnxruntime.placement import read_proto
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.records import EngineOptions

AT_ONCE = 6  # tensors in memory together

# Kernels that add before they normalize: the output with the sum, which belongs to the modules in front of them.
SUMS = {"SkipLayerNormalization": 3, "SkipSimplifiedLayerNormalization": 3}

# Products with weights, by what they compute in.
BLOCKS = {"MatMulNBits", "GatherBlockQuantized"}
INTEGERS = {"MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
# What a DequantizeLinear restores a weight from.
CODES = {
    "INT8": "int8",
    "UINT8": "int8",
    "FLOAT8E4M3FN": "float8",
    "INT4": "int4 weights",
    "FLOAT4E2M1": "float4 weights",
}
PRODUCTS = {"MatMul", "Gemm", "FusedMatMul", "Gather"}
FLOATS = {"FLOAT": "float32", "FLOAT16": "float16", "BFLOAT16": "bfloat16", "DOUBLE": "float64"}


def watch(
    model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds, provider: Provider = CPU
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """See `Engine.watch`."""
    proto = read_proto(model)
    leaving = {path: names for path in modules if (names := _leaving(proto.graph, path))}
    for group in _groups(leaving):
        names = list(dict.fromkeys(name for path in group for name in leaving[path]))
        found = dict(zip(names, _run(proto, model, options, names, feeds, provider=provider), strict=True))
        for path in group:
            yield path, [found[name] for name in leaving[path]]


def _groups(leaving: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Modules with few tensors together, or a single one with many."""
    group: list[str] = []
    count = 0
    for path, names in leaving.items():
        if group and count + len(names) > AT_ONCE:
            yield group
            group, count = [], 0
        group.append(path)
        count += len(names)
    if group:
        yield group


def precisions(model: Path, modules: Sequence[str]) -> dict[str, str]:
    """See `Engine.precisions`."""
    graph = read_proto(model).graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    found = {}
    for path in modules:
        kinds = [_precision(node, types) for node in graph.node if _belongs(node, path)]
        found[path] = ", ".join(sorted({kind for kind in kinds if kind}))
    return found


def _precision(node: Any, types: dict[str, int]) -> str:
    """What a product with weights computes in; "" for every other node."""
    import onnx

    if node.op_type in BLOCKS:
        return f"int{next((each.i for each in node.attribute if each.name == 'bits'), 4)} weights"
    if node.op_type == "DequantizeLinear":
        return CODES.get(onnx.TensorProto.DataType.Name(types[node.input[0]]), "") if node.input[0] in types else ""
    if node.op_type in INTEGERS:
        return "int8"
    if node.op_type in PRODUCTS:
        kinds = [types[name] for name in node.input if name in types]
        return FLOATS.get(onnx.TensorProto.DataType.Name(kinds[0]), "") if kinds else ""
    return ""


def _leaving(graph: Any, path: str) -> list[str]:
    """Names of the tensors that leave a module. None where a kernel elsewhere does a part of its work.

    A kernel that adds the module's result to something gives that sum too. Sums that nobody needed become outputs.
    """
    own = {index for index, node in enumerate(graph.node) if _belongs(node, path)}
    made = {name for index in own for name in graph.node[index].output if name}
    if not made:
        return []
    outputs = {output.name for output in graph.output}
    used = {name for index in own for name in graph.node[index].input}
    weights = {weight.name for weight in graph.initializer if weight.name.startswith(f"{path}.")} - used
    found = dict.fromkeys(name for name in made if name in outputs)
    for index, node in enumerate(graph.node):
        if index in own:
            continue
        taken = [name for name in node.input if name in made]
        if weights.intersection(node.input) and taken:
            return []
        found.update(dict.fromkeys(taken))
        if taken and (place := SUMS.get(node.op_type)):
            node.output.extend([""] * (place + 1 - len(node.output)))
            node.output[place] = node.output[place] or f"{node.output[0]}.sum"
            found[node.output[place]] = None
    return list(found)


def _belongs(node: Any, path: str) -> bool:
    """Whether a node does work of this module. Of several modules' common node the names are joined by "+"."""
    joined = next((entry.value for entry in node.metadata_props if entry.key == "module"), "")
    first, *others = joined.split("+")
    parent = first.rpartition(".")[0]
    paths = [first, *(f"{parent}.{name}" for name in others)]
    return any(each == path or each.startswith(f"{path}.") for each in paths)


def _run(
    proto: Any, model: Path, options: EngineOptions, names: Sequence[str], feeds: Feeds, *, provider: Provider
) -> list[np.ndarray]:
    """One call of the model with these tensors as its only outputs."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    native = session_options(options)
    native.add_session_config_entry("session.model_external_initializers_file_folder_path", str(model.parent))
    with explained(f"cannot show the layers of {model}"):
        session = open_native(shown.SerializeToString(), native, provider)
        wanted = {value.name for value in session.get_inputs()}
        found: list[np.ndarray] = session.run(list(names), {k: v for k, v in feeds.items() if k in wanted})
    return found

"""An ONNX file, read with its weights left on disk: formats, files, and which module of the checkpoint a node is of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compiler.errors import EngineError
from compiler.records import Optimized, graph_files

MODULES_SHOWN = 4  # of a placement's row, for a person

# Number formats by ONNX's names of types; what is missing here is no format of weights or activations.
FORMATS: dict[str, str] = {
    "DOUBLE": "float64",
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "INT8": "int8",
    "UINT8": "int8",
    "FLOAT8E4M3FN": "float8",
    "FLOAT8E4M3FNUZ": "float8",
    "FLOAT8E5M2": "float8",
    "FLOAT8E5M2FNUZ": "float8",
    "INT4": "int4",
    "UINT4": "int4",
    "FLOAT4E2M1": "float4",
}
WEIGHTS_ONLY = frozenset({"int4", "float4"})  # products with such weights compute in a wider format

# Products with weights. `BLOCKS` name their weights' bits themselves.
BLOCKS = frozenset({"MatMulNBits", "GatherBlockQuantized"})
PRODUCTS = BLOCKS | {
    "MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "QGemm", "Gather", "Conv", "ConvInteger", "QLinearConv",
}  # fmt: skip
THROUGH = frozenset({"DequantizeLinear", "Transpose", "Cast", "Reshape", "Identity"})  # between a weight and a product

# Kernels that add before they normalize: the output with the sum, which belongs to the modules in front of them.
SUMS = {"SkipLayerNormalization": 3, "SkipSimplifiedLayerNormalization": 3}


def read(path: Path) -> Any:
    """An `onnx.ModelProto` whose external weights stay on disk.

    Raises:
        EngineError: not an ONNX file.
    """
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own, which differ between its releases
        raise EngineError(f"cannot read {path}", found=str(error), expected="an ONNX model") from error


def module(node: Any) -> str:
    """The module of the checkpoint that a node is of; those of a fused node as in "layers.0.q_proj+k_proj"; or ""."""
    return next((str(entry.value) for entry in node.metadata_props if entry.key == "module"), "")


def modules(node: Any) -> tuple[str, ...]:
    """The paths of all modules that a node is of."""
    first, *others = module(node).split("+")
    parent = first.rpartition(".")[0]
    return (first, *(f"{parent}.{name}" for name in others)) if first else ()


def format_of(data_type: int) -> str:
    """The number format of an element type of `TensorProto`; "" for none of `FORMATS`."""
    import onnx

    return FORMATS.get(onnx.TensorProto.DataType.Name(data_type), "")


def graphs(graph: Any) -> Iterator[Any]:
    """A graph and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from graphs(inner)


def tensors(graph: Any) -> Iterator[Any]:
    """Weights and constants of a graph."""
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def weight_files(model: Path) -> list[str]:
    """External data files of an ONNX model, relative to its folder. Raises EngineError as `read`."""
    found = (tensor for inner in graphs(read(model).graph) for tensor in tensors(inner))
    return sorted({entry.value for tensor in found for entry in tensor.external_data if entry.key == "location"})


def copy(optimized: Optimized, folder: Path, out: Path) -> tuple[str, ...]:
    """Copy all graphs with their external data into `out`; the names of the files."""
    files = [name for model in graph_files(optimized) for name in (model, *weight_files(folder / model))]
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, out / file)
    return tuple(files)


def precisions(model: Path) -> dict[str, str]:
    """See `Engine.precisions`: of the products that a node's metadata ascribes to a module.

    Raises:
        EngineError: not an ONNX file.
    """
    graph = read(model).graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    sources = {output: node for node in graph.node for output in node.output}
    found: dict[str, set[str]] = {}
    for node in graph.node:
        if node.op_type in PRODUCTS and (format_ := _weight(node, types, sources)):
            for path in modules(node):
                found.setdefault(path, set()).add(format_)
    return {path: ", ".join(sorted(formats)) for path, formats in found.items()}


def _weight(node: Any, types: dict[str, int], sources: dict[str, Any]) -> str:
    """The format of the weight that a product reads, directly or through `THROUGH`; "" where it reads none."""
    if node.op_type in BLOCKS:
        return f"int{next((attribute.i for attribute in node.attribute if attribute.name == 'bits'), 4)} weights"
    for name in node.input:
        while (source := sources.get(name)) is not None and source.op_type in THROUGH:
            name = source.input[0]  # noqa: PLW2901 - followed up to the weight
        if name in types:
            format_ = format_of(types[name])
            return f"{format_} weights" if format_ in WEIGHTS_ONLY else format_
    return ""


def leaving(graph: Any, path: str) -> list[str]:
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
    """Whether a node does work of this module."""
    return any(f"{each}.".startswith(f"{path}.") for each in modules(node))

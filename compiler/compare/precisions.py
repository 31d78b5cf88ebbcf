"""What each module's weights are stored as: from the graph where it is at hand, else as far as the placement tells."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from compiler.errors import IntegrityError
from compiler.reading import foreign
from compiler.records import Certificate, Manifest, graph_files

# From least to most precise; what is not here is not ranked.
ORDER = ("int2", "int4", "int8", "float8", "float16", "bfloat16", "float32", "float64")

_PRODUCTS = frozenset({"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulNBits", "MatMulInteger", "QLinearMatMul",
                       "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "Gather", "GatherBlockQuantized",
                       "Conv", "ConvInteger", "QLinearConv"})  # fmt: skip
_THROUGH = frozenset({"DequantizeLinear", "Transpose", "Cast", "Reshape", "Identity"})
_BLOCKS = frozenset({"MatMulNBits", "GatherBlockQuantized"})


def module_precisions(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Module path to what its weight is stored as ("float32", "int8", "int4", ...); {} without the build extra.

    Raises:
        IntegrityError: a graph cannot be read.
    """
    if importlib.util.find_spec("onnx") is None:
        return {}
    import onnx

    found: dict[str, str] = {}
    with foreign(IntegrityError, f"{folder}: a graph is not the ONNX that was built"):
        for name in graph_files(manifest):
            found |= _of(onnx.load(str(folder / name), load_external_data=False).graph)
        return dict(sorted(found.items()))  # of names that are no Unicode protobuf gives the bytes


def placed_precisions(certificate: Certificate) -> dict[str, str]:
    """The same for the few modules that the placement names."""
    return {
        module: row.precision.removesuffix(" weights")
        for row in certificate.placement
        if row.operator in _PRODUCTS
        for module in row.modules
    }


def lowered(baseline: dict[str, str], candidate: dict[str, str]) -> list[str]:
    """Modules of both whose weights the candidate stores less precisely."""
    return [
        module
        for module, before in baseline.items()
        if (after := candidate.get(module)) in ORDER and before in ORDER and ORDER.index(after) < ORDER.index(before)
    ]


def _of(graph: Any) -> dict[str, str]:
    weights = {tensor.name: _word(tensor.data_type) for tensor in graph.initializer}
    sources = {output: node for node in graph.node for output in node.output}
    found = {}
    for node in graph.node:
        module = next((entry.value for entry in node.metadata_props if entry.key == "module"), "")
        if module and node.op_type in _PRODUCTS and (precision := _weight(node, weights, sources)) in ORDER:
            found[module] = precision
    return found


def _weight(node: Any, weights: dict[str, str], sources: dict[str, Any]) -> str:
    if node.op_type in _BLOCKS:
        return f"int{next((attribute.i for attribute in node.attribute if attribute.name == 'bits'), 4)}"
    for name in node.input:
        origin = name
        while (source := sources.get(origin)) is not None and source.op_type in _THROUGH:
            origin = source.input[0]
        if origin in weights:
            return weights[origin]
    return ""


def _word(data_type: int) -> str:
    """The tensor type's name, signed or not."""
    import onnx

    word = onnx.TensorProto.DataType.Name(data_type).lower()
    word = {"float": "float32", "double": "float64"}.get(word, word).removeprefix("u")
    return "float8" if word.startswith("float8") else word

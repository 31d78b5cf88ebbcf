"""float4 weights as the numbers that they stand for: no kernel of ONNX Runtime reads float4."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize.passes.graph import constant, initializer, nodes, producer, replace


def widened(model: ir.Model) -> ir.Model:
    """A copy that holds the result of every DequantizeLinear of float4 codes, to the bit; the model if it has none.

    A weight takes the type that its DequantizeLinear gives (float32, float16), four to eight times the space.
    """
    if not any(map(_reads_float4, nodes(model, "DequantizeLinear"))):
        return model
    copy = model.clone()
    for node in filter(_reads_float4, nodes(copy, "DequantizeLinear")):
        weight = initializer(copy, f"{node.inputs[0].name}.widened", _restored(node))  # type: ignore[union-attr]
        replace(node, [], node.outputs, [weight])
    RemoveUnusedNodesPass()(copy)
    return copy


def _reads_float4(node: ir.Node) -> bool:
    codes = node.inputs[0]
    return codes is not None and codes.const_value is not None and codes.const_value.dtype == ir.DataType.FLOAT4E2M1


def _restored(node: ir.Node) -> np.ndarray:
    """The (K, N) weight that a DequantizeLinear of blocks along K gives; its scales are constant, or restored too."""
    codes, scales = constant(node.inputs[0]), constant(node.inputs[1])
    inner = producer(node.inputs[1], "DequantizeLinear")
    if scales is None and inner is not None:
        numbers, whole = constant(inner.inputs[0]), constant(inner.inputs[1])
        scales = None if numbers is None or whole is None else numbers.astype(whole.dtype) * whole
    if codes is None or scales is None:
        raise ValueError(f"{node.outputs[0].name}: float4 codes whose scales are not constant")
    blocks = codes.astype(scales.dtype).reshape(len(scales), -1, codes.shape[1])
    restored: np.ndarray = (blocks * scales[:, None]).reshape(codes.shape)
    return restored

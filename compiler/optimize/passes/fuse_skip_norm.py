"""fuse-skip-norm: a residual addition and the normalization after it in one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.graph import (
    MICROSOFT,
    attribute,
    constant,
    dims,
    input_at,
    metadata,
    nodes,
    producer,
    replace,
    split_bias,
    used_once,
)

KERNELS = {"LayerNormalization": "SkipLayerNormalization", "RMSNormalization": "SkipSimplifiedLayerNormalization"}
DEFAULT_EPSILON = 1e-5


@dataclass(frozen=True)
class FuseSkipNorm(Pass):
    """Norm(x + skip) -> com.microsoft.Skip(Simplified)LayerNormalization; its fourth output is the sum itself.

    A constant bias added to x before that is taken in as well. The sum may have other readers (the next residual).
    """

    name: ClassVar[str] = "fuse-skip-norm"

    def apply(self, model: ir.Model, context: Context) -> bool:
        modified = False
        for op_type, kernel in KERNELS.items():
            for norm in nodes(model, op_type):
                modified |= _fuse(norm, kernel)
        return modified


def _fuse(norm: ir.Node, kernel: str) -> bool:
    add = producer(norm.inputs[0], "Add")
    if add is None or not _over_last_axis(norm) or any(output.uses() for output in norm.outputs[1:]):
        return False
    total = add.outputs[0]
    shape = dims(total)
    if shape is None or len(shape) != 3 or any(dims(part) != shape for part in add.inputs):
        return False
    scale, shift = norm.inputs[1], input_at(norm, 2)
    if not _is_vector(scale) or (shift is not None and not _is_vector(shift)):
        return False
    x, skip, bias = _operands(add)
    inputs = [x, skip, scale] + ([shift, bias] if kernel == "SkipLayerNormalization" else [bias])
    while inputs[-1] is None:
        inputs.pop()
    needs_sum = len(total.uses()) > 1 or total.is_graph_output()
    fused = ir.node(
        kernel,
        inputs,
        {"epsilon": attribute(norm, "epsilon", DEFAULT_EPSILON)},
        domain=MICROSOFT,
        num_outputs=4 if needs_sum else 1,
        metadata_props=metadata(norm),
    )
    old, by = [norm.outputs[0]], [fused.outputs[0]]
    if needs_sum:
        old, by = [norm.outputs[0], total], [fused.outputs[0], fused.outputs[3]]
        for unused in fused.outputs[1:3]:
            unused.name = ""
    replace(add, [fused], old, by)
    return True


def _operands(add: ir.Node) -> tuple[ir.Value | None, ir.Value | None, ir.Value | None]:
    """(x, skip, bias): the addend that carries a constant bias of its own comes first, without it."""
    for x, skip in (add.inputs, add.inputs[::-1]):
        parts = split_bias(x)
        if x is not None and parts is not None and used_once(x) and dims(parts[0]) == dims(x):
            return parts[0], skip, parts[1]
    return add.inputs[0], add.inputs[1], None


def _is_vector(value: ir.Value | None) -> bool:
    array = constant(value)
    return array is not None and array.ndim == 1


def _over_last_axis(norm: ir.Node) -> bool:
    shape = dims(norm.inputs[0])
    return shape is not None and attribute(norm, "axis", -1) in (-1, len(shape) - 1)

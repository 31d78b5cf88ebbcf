"""int8 weights as uint8, for processors whose products of uint8 and int8 overflow (`machine.saturates`).

What a pass did is judged by the numbers that the machines give which it lowers for, and those of VNNI are exact: sums
in 32 bits. Kernels for two uint8 are exact everywhere.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import constant, initializer, input_at

# Where the weight and its zero point are among the inputs of operators that multiply uint8 by it.
PRODUCTS = {"MatMulInteger": (1, 3), "MatMulIntegerToFloat": (1, 5), "DynamicQuantizeMatMul": (1, 3)}
MIDDLE = np.uint8(128)


def unsigned(model: ir.Model) -> None:
    """Give every product of uint8 and a constant int8 weight the same weight as uint8, in place.

    code + 128 with the zero point 128 stands for the same number.
    """
    made: dict[ir.Value, ir.Value] = {}
    zero: ir.Value | None = None
    for node in model.graph:
        if node.op_type not in PRODUCTS:
            continue
        at, zero_at = PRODUCTS[node.op_type]
        weight = input_at(node, at)
        codes = constant(weight)
        if weight is None or codes is None or codes.dtype != np.int8 or input_at(node, zero_at) is not None:
            continue
        if weight not in made:
            made[weight] = initializer(model, f"{weight.name}.unsigned", codes.view(np.uint8) + MIDDLE)
        zero = zero or initializer(model, "unsigned.zero", np.array(MIDDLE))
        inputs = [*node.inputs, *[None] * (zero_at + 1 - len(node.inputs))]
        inputs[at], inputs[zero_at] = made[weight], zero
        node.resize_inputs(len(inputs))
        for index, value in enumerate(inputs):
            node.replace_input_with(index, value)
        if not weight.uses():
            del model.graph.initializers[weight.name or ""]

"""How much a model's answers move when float32 rounds differently."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

EPSILON = float(np.finfo(np.float32).eps)


def perturbed(model: ir.Model, seed: int) -> ir.Model:
    """A copy whose float32 vectors (norm scales, biases) are each moved by one rounding, up or down at random.

    Every layer then rounds differently, as it does under kernels that add in another order; how far the answers move
    is the model's own noise. Matrices are shared with the original.
    """
    rng = np.random.default_rng(seed)
    copy = model.clone()
    for name, value in copy.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 1 or tensor.size < 2:
            continue
        array = tensor.numpy()
        moved = array * (1 + EPSILON * rng.choice(np.array([-1, 1]), array.shape))
        value.const_value = ir.tensor(moved.astype(np.float32), name=name)
    return copy

"""What every quantizing pass is asked: how far do the numbers move, and is a second run idle?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize.passes import Context, Feeds, Pass
from compiler.records import Requires
from tests.optimize.graphs import HERE, exported, outputs

# The head's weight is the table that tokens are looked up in.
TIED = """g (int64[batch, sequence] ids, float[40, 64] table, float[64, 64] w) => (float[batch, sequence, 40] logits) {
    x = Gather(table, ids)
    hidden = MatMul(x, w)
    head = Transpose <perm = [1, 0]> (table)
    logits = MatMul(hidden, head)
}"""


def error(
    pass_: Pass,
    model: ir.Model,
    feeds: Mapping[str, np.ndarray],
    calibration: Sequence[Feeds] = (),
    target: Requires = HERE,
) -> float:
    """Apply a pass that must modify the model; the largest change of an output, relative to the largest output."""
    context = Context(exported=exported(), calibration=lambda: calibration or [dict(feeds)], target=target)
    before = outputs(model, feeds)
    assert pass_.apply(model, context)
    RemoveUnusedNodesPass()(model)
    after = outputs(model, feeds)
    assert not pass_.apply(model, context), "the second run says that it modified the model"
    assert {name: array.shape for name, array in before.items()} == {n: array.shape for n, array in after.items()}
    return max(float(np.abs(after[name] - array).max() / np.abs(array).max()) for name, array in before.items())

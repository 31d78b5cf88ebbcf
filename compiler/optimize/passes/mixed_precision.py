"""mixed-precision: float16 or bfloat16 wherever a model's own numbers fit, float32 elsewhere; all of it in the graph.

Which layers fit is measured: the model runs on calibration text, and a node computes in the narrow format if
everything that goes in and comes out stays within its range, some headroom left. What is sensitive by nature
(normalizations, softmax, angles of positions) stays float32. Casts stand only where the two meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from compiler.errors import PassError
from compiler.optimize.passes.base import Context, Pass
from compiler.optimize.passes.casts import Casts
from compiler.optimize.passes.graph import MICROSOFT, constant
from compiler.optimize.quantize.extremes import SCORES, extremes

Format = Literal["float16", "bfloat16"]

FORMATS: dict[Format, ir.DataType] = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}
LARGEST: dict[Format, float] = {"float16": 65504.0, "bfloat16": 255 / 128 * 2.0**127}

# Products of activations: these make a value narrow that was not.
PRODUCTS = frozenset({
    *("MatMul", "Gemm", "Einsum", "Conv", "Attention", "QuantizeLinear"),
    *("MultiHeadAttention", "GroupQueryAttention", "MatMulNBits", "FusedMatMul"),
})  # fmt: skip

# Quotients of sums of squares, as one operator.
NORMS = frozenset({
    *("LayerNormalization", "RMSNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"),
    *("SimplifiedLayerNormalization", "EmbedLayerNormalization", "InstanceNormalization", "GroupNormalization"),
})  # fmt: skip

# Sums of squares and of exponentials, and functions of angles: always float32.
EXACT = frozenset({
    *("Softmax", "LogSoftmax", "Exp", "Log", "Softplus", "Pow", "Sqrt", "Reciprocal", "CumSum", "Cos", "Sin"),
    *("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp"),
})  # fmt: skip

# These take a value of any type, and give none of it back.
INDIFFERENT = frozenset({"Shape", "Size", "Cast"})

# What is not made of tokens or of what is known of them: angles and masks, whose products are no layer's.
COUNTED = frozenset({"attention_mask", "encoder_attention_mask", "position_ids", "logits_positions"})

HIDING = 1e6  # a constant this large is there to hide keys from a softmax
SMALLEST = float(np.finfo(np.float16).smallest_normal)  # of a scale that keeps its digits
HIDDEN = 0.25  # of the largest number that fits: what such a constant becomes, so that several can be added
LIMITING = frozenset({"Clip", "Max", "Min"})


@dataclass(frozen=True)
class MixedPrecision(Pass):
    """float32 values -> `dtype`, but for those that would leave its range, and those that never should.

    The graph's outputs stay float32; only the key/value cache becomes float16 where all of it fits (never bfloat16,
    which numpy lacks). Constants that hide keys from a softmax are brought within the range, so that none of their
    sums is infinite.

    Attributes:
        dtype: "float16" or "bfloat16".
        headroom: how many times the largest number seen in calibration has to fit.
        norms: "float32", or "fitting": narrow where what goes in and comes out fits, for engines whose kernels sum in
            float32 whatever they are given.
    """

    name: ClassVar[str] = "mixed-precision"
    lossy: ClassVar[bool] = True
    dtype: Format = "float16"
    headroom: float = 4.0
    norms: Literal["float32", "fitting"] = "float32"

    @property
    def formats(self) -> tuple[str, ...]:
        return (self.dtype,)

    def apply(self, model: ir.Model, context: Context) -> bool:
        if self.dtype not in FORMATS:
            raise PassError(f'"{self.dtype}" is no narrow format', expected=", ".join(FORMATS), action="choose one")
        feeds = context.widest()
        if not feeds:
            raise PassError("mixed-precision has nothing to calibrate on", expected="one or more feeds")
        limit = LARGEST[self.dtype] / self.headroom
        tamed = _tame(model, limit)
        floats = _floats(model)
        constants = {value for value in floats if constant(value) is not None}
        names = [value.name for value in floats if value.name and value not in constants]
        exact = EXACT if self.norms == "fitting" else EXACT | NORMS
        plan = _Plan(model, set(floats), constants, extremes(model, names, feeds), limit=limit, exact=exact)
        plan.choose(cache=self.dtype == "float16")
        if plan.nodes:
            Casts(model, FORMATS[self.dtype]).apply(plan.nodes, plan.narrow, set(floats), constants, INDIFFERENT)
        return tamed or bool(plan.nodes)


class _Plan:
    """Which nodes compute in the narrow format, and the values that are then of it, the cache's inputs among them."""

    def __init__(
        self,
        model: ir.Model,
        floats: set[ir.Value],
        constants: set[ir.Value],
        ranges: dict[str, float],
        *,
        limit: float,
        exact: frozenset[str],
    ) -> None:
        self.nodes: set[ir.Node] = set()
        self.narrow: set[ir.Value] = set()
        self._model, self._floats, self._constants, self._ranges, self._limit = model, floats, constants, ranges, limit
        self._exact = exact
        self._magnitudes: dict[ir.Value, tuple[float, float]] = {}

    def choose(self, *, cache: bool) -> None:
        """Decide node by node, in order; past and present may be narrow only if `cache`."""
        graph = self._model.graph
        past = {value for value in graph.inputs if (value.name or "").startswith("past_key_values.")} & self._floats
        keepers = [node for node in graph if not past.isdisjoint(node.inputs) and node.op_type not in INDIFFERENT]
        if cache and all(map(self._fits, keepers)):
            self.narrow |= past
        tokens, weights = _made_of_tokens(self._model), _made_of_constants(self._model)
        for node in graph:
            sources = [value for value in node.inputs if value is not None and value in self._floats]
            if node.op_type in INDIFFERENT or node.op_type in self._exact or not sources:
                continue
            varying = [value for value in sources if value not in self._constants]
            if not past.isdisjoint(sources):
                wanted = not past.isdisjoint(self.narrow)
            elif node.outputs[0] in tokens:
                product = node.op_type in PRODUCTS and not tokens.isdisjoint(varying)
                wanted = product or not varying or not self.narrow.isdisjoint(varying)
            else:
                wanted = node.outputs[0] in weights
            if wanted and self._fits(node):
                self.nodes.add(node)
                self.narrow.update(value for value in node.outputs if value in self._floats)

    def _fits(self, node: ir.Node) -> bool:
        """Whether all that goes in and comes out stays in range, scores inside an attention included."""
        for value in (*node.inputs, *node.outputs):
            if value in self._floats and self._largest(value) > self._limit:
                return False
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and not self._scale_fits(node.inputs[1]):
            return False
        return self._ranges.get(f"{node.outputs[0].name}{SCORES}", 0.0) <= self._limit

    def _largest(self, value: ir.Value) -> float:
        return self._of(value)[1] if value in self._constants else self._ranges.get(value.name or "", 0.0)

    def _scale_fits(self, scale: ir.Value | None) -> bool:
        """Whether a constant scale is large enough to keep its digits."""
        return scale is None or scale not in self._constants or self._of(scale)[0] >= SMALLEST

    def _of(self, value: ir.Value) -> tuple[float, float]:
        """The smallest and the largest magnitude in a constant."""
        if value not in self._magnitudes:
            array = np.abs(constant(value))  # type: ignore[arg-type]
            self._magnitudes[value] = (float(array.min(initial=np.inf)), float(array.max(initial=0.0)))
        return self._magnitudes[value]


def _floats(model: ir.Model) -> list[ir.Value]:
    """Every float32 value of the graph, in order, constants included."""
    inferred = model.clone()
    untyped = True
    while untyped:  # operators of com.microsoft are unknown to the inference; they give what they are given
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(inferred)
        untyped = False
        for node in inferred.graph:
            kinds = [value.type for value in node.inputs if value is not None and value.type is not None]
            for value in node.outputs:
                if value.name and value.type is None and kinds and node.domain == MICROSOFT:
                    floating = (kind for kind in kinds if kind.dtype.is_floating_point())
                    value.type, untyped = next(floating, kinds[0]), True
    types = {name: value.dtype for name, value in ir.convenience.create_value_mapping(inferred.graph).items()}
    graph = model.graph
    every = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    return [value for value in dict.fromkeys(every) if types.get(value.name or "", value.dtype) == ir.DataType.FLOAT]


def _made_of_tokens(model: ir.Model) -> set[ir.Value]:
    """Values that depend on more than lengths: on tokens, on the cache, on what another graph has read."""
    found = {value for value in model.graph.inputs if value.name not in COUNTED}
    for node in model.graph:
        if node.op_type not in ("Shape", "Size") and not found.isdisjoint(node.inputs):
            found.update(node.outputs)
    return found


def _tame(model: ir.Model, limit: float) -> bool:
    """Bring constants that hide keys within the range; whether there were any."""
    changed = False
    for value in list(model.graph.initializers.values()):
        if value.const_value is None or value.const_value.dtype != ir.DataType.FLOAT:
            continue
        array = value.const_value.numpy()
        if any(use.node.op_type in LIMITING for use in value.uses()):
            continue
        large = np.abs(array) > limit
        if not large.any() or np.abs(array[large]).min() < HIDING:
            continue
        kept = np.where(large, np.copysign(np.float32(limit * HIDDEN), array), array).astype(np.float32)
        value.const_value = ir.tensor(kept, name=value.name)
        changed = True
    return changed


def _made_of_constants(model: ir.Model) -> set[ir.Value]:
    """Values that no input and no length changes: weights turned round, or restored from their codes."""
    found: set[ir.Value] = set()
    for node in model.graph:
        sources = [value for value in node.inputs if value is not None]
        if sources and all(value in found or constant(value) is not None for value in sources):
            found.update(node.outputs)
    return found

"""quantize-per-token: int8 matrix products whose activations have a scale for every row."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.base import Context, Feeds, Pass
from compiler.optimize.passes.graph import MICROSOFT, initializer, metadata, replace
from compiler.optimize.quantize.eight_bits import Weights, for_unsigned
from compiler.optimize.quantize.observe import observe
from compiler.optimize.quantize.products import Product, products
from compiler.optimize.quantize.smoothing import channels, smooth

SMALLEST = np.finfo(np.float32).smallest_normal  # what a row of zeros is divided by
STEP, ZERO = np.array(1 / 127, np.float32), np.array(128, np.uint8)


@dataclass(frozen=True)
class QuantizePerToken(Pass):
    """Float32 products with a constant weight -> int8 products, each row of the activation scaled by its largest value.

    y = (round(127 x / r) / 127) W r with r = max |x| over the last axis, written with standard operators around
    `MatMulIntegerToFloat`. No row's numbers depend on another's: a text has the same vector alone and in a batch.
    Weights have a scale for every column. Products that read one tensor share its quantization; a bias stays an Add.
    Where calibration shows that it pays, channels are made more alike first, at the expense of the weights that read
    them (SmoothQuant).
    """

    name: ClassVar[str] = "quantize-per-token"
    lossy: ClassVar[bool] = True

    def apply(self, model: ir.Model, context: Context) -> bool:
        readers: dict[str, list[Product]] = defaultdict(list)
        for product in products(model):
            readers[product.source.name or ""].append(product)
        if not readers:
            return False
        numbers = for_unsigned(context.target)
        factors = _factors(model, readers, context.calibration(), numbers.top)
        weights = Weights(model, numbers)
        constants = _Constants(model)
        for name, siblings in readers.items():
            _quantize(siblings, weights, constants, factors.get(name))
        return True


def _factors(
    model: ir.Model, readers: dict[str, list[Product]], feeds: Sequence[Feeds], top: int
) -> dict[str, np.ndarray]:
    """What the channels of activations are multiplied by, (K,), where that helps.

    A weight that layers share would have to be stored for each of them, and is left as it is.
    """
    uses = Counter(product.key for siblings in readers.values() for product in siblings)
    apart = {name: siblings for name, siblings in readers.items() if all(uses[each.key] == 1 for each in siblings)}
    seen = channels(observe(model, list(apart), feeds), len(feeds)) if apart else {}
    found = {
        name: smooth(channel, [each.array() for each in apart[name]], top=top, per_row=True)
        for name, channel in seen.items()
    }
    return {name: factors for name, factors in found.items() if factors is not None}


class _Constants:
    """What all products read."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.axis = initializer(model, "per_token.axis", np.array([-1], np.int64))
        self.smallest = initializer(model, "per_token.smallest", np.array(SMALLEST, np.float32))
        self.step = initializer(model, "per_token.step", STEP)
        self.zero = initializer(model, "per_token.zero", ZERO)


def _quantize(siblings: Sequence[Product], weights: Weights, constants: _Constants, factors: np.ndarray | None) -> None:
    """Rewrite the products of one source, whose channels are multiplied by `factors` (K,) first."""
    info = metadata(siblings[0].node)
    made: list[ir.Node] = []

    def add(op_type: str, inputs: Sequence[ir.Value | None], domain: str = "", **attributes: int) -> ir.Value:
        made.append(ir.node(op_type, inputs, attributes, domain=domain, metadata_props=info))
        return made[-1].outputs[0]

    source = siblings[0].source
    name = source.name
    if factors is not None:
        source = add("Mul", [source, initializer(constants.model, f"{name}.factors", factors)])
    largest = add("Max", [add("ReduceMax", [add("Abs", [source]), constants.axis], keepdims=1), constants.smallest])
    scaled = add("Mul", [source, add("Reciprocal", [largest])])
    codes = add("QuantizeLinear", [scaled, constants.step, constants.zero])
    for product in siblings:
        info = metadata(product.node)
        weight = (
            weights.of(product)
            if factors is None
            else weights.quantize(product.name, product.array() / factors[:, None])
        )
        inputs = [codes, weight.codes, constants.step, weight.scale, constants.zero]
        result = add("Mul", [add("MatMulIntegerToFloat", inputs, MICROSOFT), largest])
        if product.bias is not None:
            result = add("Add", [result, product.bias])
        replace(product.node, made, [product.result], [result])
        made = []

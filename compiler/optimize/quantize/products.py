"""The matrix products with a constant weight: what every quantizing pass works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import (
    attribute,
    constant,
    dims,
    input_at,
    metadata,
    producer,
    split_bias,
    used_once,
)

SMALLEST = 16  # a weight with fewer rows or columns than this gains nothing


@dataclass(frozen=True)
class Product:
    """`result` = `source` @ weight (+ bias).

    Attributes:
        node: the MatMul or Gemm.
        weight: the stored tensor; (N, K) if `transposed`, otherwise (K, N).
        bias: (N,) float32 added by the Gemm or by the Add that follows.
        result: the value that the rest of the graph reads.
    """

    node: ir.Node
    weight: ir.Value
    transposed: bool
    bias: ir.Value | None
    result: ir.Value

    @property
    def source(self) -> ir.Value:
        """(..., K) float32, as the graph stands now."""
        source = self.node.inputs[0]
        if source is None:
            raise ValueError(f"{self.name} multiplies nothing")
        return source

    @property
    def name(self) -> str:
        return self.weight.name or ""

    @property
    def key(self) -> tuple[int, bool]:
        """Equal for products that can share one quantized weight."""
        return id(self.weight), self.transposed

    def array(self) -> np.ndarray:
        """The weight as (K, N) float32."""
        stored = constant(self.weight)
        if stored is None:
            raise ValueError(f"{self.name} is not constant")
        return stored.T if self.transposed else stored

    def multiply(self, source: ir.Value, weight: ir.Value) -> list[ir.Node]:
        """Nodes that multiply `source` by a weight (K, N) instead and add the bias; the last one gives the result."""
        info = metadata(self.node)
        made = [ir.node("MatMul", [source, weight], metadata_props=info)]
        if self.bias is not None:
            made.append(ir.node("Add", [made[-1].outputs[0], self.bias], metadata_props=info))
        return made


def products(model: ir.Model) -> list[Product]:
    """All products of a float32 activation and a constant 2-D weight that is worth quantizing, in graph order."""
    found = (_product(node) for node in model.graph if node.domain == "" and node.op_type in ("MatMul", "Gemm"))
    return [product for product in found if product is not None]


def _product(node: ir.Node) -> Product | None:
    source, weight = node.inputs[0], node.inputs[1]
    transposed = node.op_type == "Gemm" and attribute(node, "transB", 0) == 1
    transpose = producer(weight, "Transpose")
    if transpose is not None and constant(transpose.inputs[0]) is not None:
        weight, transposed = transpose.inputs[0], not transposed
    array = constant(weight)
    if source is None or weight is None or array is None or constant(source) is not None:
        return None
    if array.dtype != np.float32 or array.ndim != 2 or min(array.shape) < SMALLEST:
        return None
    result = node.outputs[0]
    if node.op_type == "Gemm":
        return _gemm(node, weight, transposed, array)
    if used_once(result):
        total = result.consumers()[0].outputs[0]
        parts = split_bias(total, width=array.shape[0 if transposed else 1])
        if parts is not None and parts[0] is result:
            return Product(node, weight, transposed, parts[1], total)
    return Product(node, weight, transposed, None, result)


def _gemm(node: ir.Node, weight: ir.Value, transposed: bool, array: np.ndarray) -> Product | None:
    plain = attribute(node, "transA", 0) == 0 and attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
    bias = input_at(node, 2)
    if not plain or (bias is not None and dims(bias) != (array.shape[0 if transposed else 1],)):
        return None
    return Product(node, weight, transposed, bias, node.outputs[0])

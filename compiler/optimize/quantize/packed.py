"""Quantized weights as ONNX Runtime stores them, and the nodes that read them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import MICROSOFT, initializer
from compiler.optimize.quantize.blocks import Blocks

INT8_COMPUTE = 4  # the accuracy_level at which the kernel turns activations into int8, block by block


class PackedWeight:
    """One weight of N rows and K columns in blocks along K, which products and embedding lookups may share.

    `codes` is (N, blocks, bytes of a block) uint8; two 4-bit codes share a byte, the first in its low half. `scales`
    is (N, blocks) float32; `zeros` (N, bytes of a row) uint8, or None where the grid is symmetric.
    """

    def __init__(self, model: ir.Model, name: str, blocks: Blocks) -> None:
        self.layout = blocks.layout
        self._model = model
        self._name = f"{name}.int{self.layout.bits}"
        self._columns, self._rows = blocks.rows, blocks.codes.shape[1]
        self._count = len(blocks.scales)
        codes = pack(blocks.codes.T, self.layout.bits).reshape(self._rows, self._count, -1)
        self.codes = initializer(model, self._name, codes)
        self.scales = initializer(model, f"{self._name}.scales", np.ascontiguousarray(blocks.scales.T))
        self._plain_zeros = np.ascontiguousarray(blocks.zeros.T)
        self.zeros: ir.Value | None = None
        if not self.layout.symmetric:
            self.zeros = initializer(model, f"{self._name}.zeros", pack(self._plain_zeros, self.layout.bits))

    def multiply(self, source: ir.Value, bias: ir.Value | None, info: dict[str, str]) -> ir.Node:
        """source (..., K) @ weight^T (+ bias) -> (..., N)."""
        attributes = {
            "K": self._columns,
            "N": self._rows,
            "bits": self.layout.bits,
            "block_size": self.layout.block_size,
            "accuracy_level": INT8_COMPUTE,
        }
        inputs = [source, self.codes, self.scales, self.zeros, None, bias]
        while inputs[-1] is None:
            inputs.pop()
        return ir.node("MatMulNBits", inputs, attributes, domain=MICROSOFT, metadata_props=info)

    def gather(self, indices: ir.Value, rank: int, info: dict[str, str]) -> list[ir.Node]:
        """weight[indices]: `rank` dims of indices -> (..., K); K must be whole blocks.

        The kernel finds rows of (blocks, block_size), so it reads the codes just as `multiply` has them; the last
        node joins the blocks.
        """
        attributes = {
            "bits": self.layout.bits,
            "block_size": self.layout.block_size,
            "gather_axis": 0,
            "quantize_axis": 2,
        }
        last = initializer(self._model, f"{self._name}.last_axis", np.array([-1], np.int64))
        scales = ir.node("Unsqueeze", [self.scales, last], metadata_props=info)
        inputs = [self.codes, indices, scales.outputs[0]]
        if self.zeros is not None:
            inputs.append(initializer(self._model, f"{self._name}.plain_zeros", self._plain_zeros[:, :, None]))
        lookup = ir.node("GatherBlockQuantized", inputs, attributes, domain=MICROSOFT, metadata_props=info)
        shape = initializer(self._model, f"{self._name}.row", np.array([0] * rank + [self._columns], np.int64))
        joined = ir.node("Reshape", [lookup.outputs[0], shape], metadata_props=info)
        return [scales, lookup, joined]


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """(rows, n) codes to (rows, bytes) uint8; an odd last 4-bit code leaves the upper half of its byte empty."""
    if bits == 8:
        return np.ascontiguousarray(codes)
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return np.ascontiguousarray(even[:, ::2] | (even[:, 1::2] << 4))

"""Quantized weights as ONNX Runtime stores them, and the nodes that read them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.optimize.passes.graph import MICROSOFT, initializer
from compiler.optimize.quantize.blocks import Blocks

INT8_COMPUTE = 4  # the accuracy_level at which the kernel turns activations into int8, block by block


class PackedWeight:
    """One weight of N rows and K columns, in blocks along K; products and embedding lookups may share it.

    `codes` is (N, blocks, bytes a block) uint8; two 4-bit codes share a byte, the first in the low half. `scales` is
    (N, blocks) float32, `zeros` (N, bytes of a row) uint8 or absent where the grid is symmetric.
    """

    def __init__(self, model: ir.Model, name: str, blocks: Blocks) -> None:
        self.layout = blocks.layout
        self.columns, self.rows = blocks.rows, blocks.codes.shape[1]
        codes = pack(blocks.codes.T, self.layout.bits)
        self._model, self._name = model, f"{name}.int{self.layout.bits}"
        self.codes = initializer(model, self._name, codes.reshape(self.rows, len(blocks.scales), -1))
        self.scales = initializer(model, f"{self._name}.scales", np.ascontiguousarray(blocks.scales.T))
        self.zeros = (
            None
            if self.layout.symmetric
            else initializer(model, f"{self._name}.zeros", pack(blocks.zeros.T, self.layout.bits))
        )

    def multiply(self, source: ir.Value, bias: ir.Value | None, info: dict[str, str]) -> ir.Node:
        """source (..., K) @ weight^T (+ bias): (..., N)."""
        attributes = {
            "K": self.columns,
            "N": self.rows,
            "bits": self.layout.bits,
            "block_size": self.layout.block_size,
            "accuracy_level": INT8_COMPUTE,
        }
        inputs = [source, self.codes, self.scales, self.zeros, None, bias]
        while inputs[-1] is None:
            inputs.pop()
        return ir.node("MatMulNBits", inputs, attributes, domain=MICROSOFT, metadata_props=info)

    def gather(self, indices: ir.Value, shape: ir.Shape | None, info: dict[str, str]) -> list[ir.Node]:
        """weight[indices]: indices (...) integers to (..., K) float32. K must be whole blocks.

        The kernel looks up rows of (blocks, block) and the last node joins them; so the codes are read in the very
        layout that `multiply` needs. `shape` is that of the result.
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
        if not self.layout.symmetric:
            inputs.append(initializer(self._model, f"{self._name}.unpacked_zeros", self._zeros[:, :, None]))
        lookup = ir.node("GatherBlockQuantized", inputs, attributes, domain=MICROSOFT, metadata_props=info)
        ...


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """(rows, n) codes to (rows, bytes) uint8; for 4 bits an odd last code gets an empty upper half."""
    if bits == 8:
        return np.ascontiguousarray(codes)
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return even[:, ::2] | (even[:, 1::2] << 4)

"""A graph's inputs and outputs as records."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from compiler.errors import PassError
from compiler.records import CacheShape, Exported, Tensor


def tensors(values: Iterable[ir.Value]) -> tuple[Tensor, ...]:
    """Inputs or outputs of a graph, in order.

    Raises:
        PassError: a value has no name, no dtype, or a dim without a size and a name.
    """
    return tuple(_tensor(value) for value in values)


def cache_shape(model: ir.Model, exported: Exported) -> CacheShape | None:
    """The decoder's cache as this graph lays it out: GroupQueryAttention shares one buffer, all else concatenates."""
    if exported.cache is None or exported.cache.layout == "none":
        return exported.cache
    shared = any(node.op_type == "GroupQueryAttention" for node in model.graph)
    cache = exported.cache
    return CacheShape(
        layers=cache.layers,
        kv_heads=cache.kv_heads,
        head_dim=cache.head_dim,
        layout="shared" if shared else "concatenated",
    )


def _tensor(value: ir.Value) -> Tensor:
    shape = [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
    if value.name is None or value.dtype is None or value.shape is None or None in shape:
        raise PassError(
            f'graph input or output "{value.name}" is not fully described',
            found=f"dtype {value.dtype}, shape {value.shape}",
            expected="a dtype and, for every dim, a size or a name",
        )
    return Tensor(
        name=value.name,
        dtype=value.dtype.numpy().name,
        shape=tuple(dim for dim in shape if dim is not None),
    )

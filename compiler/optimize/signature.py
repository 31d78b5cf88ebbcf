"""A graph's inputs and outputs as records."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import onnx_ir as ir

from compiler.errors import PassError
from compiler.records import CacheShape, Exported, Tensor

IN_PLACE = ("GroupQueryAttention", "TensorScatter")


def tensors(values: Iterable[ir.Value]) -> tuple[Tensor, ...]:
    """Inputs or outputs of a graph, in order.

    Raises:
        PassError: a value has no name, no dtype, or a dim without a size and a name.
    """
    return tuple(_tensor(value) for value in values)


def cache_shape(model: ir.Model, exported: Exported) -> CacheShape | None:
    """The decoder's cache as this graph lays it out: where a kernel writes in place it is shared, else concatenated."""
    if exported.cache is None or exported.cache.layout == "none":
        return exported.cache
    shared = any(node.op_type in IN_PLACE for node in model.graph)
    past = next((value for value in model.graph.inputs if (value.name or "").startswith("past_key_values.")), None)
    columns = past.shape[2] if past is not None and past.shape is not None else None
    return msgspec.structs.replace(
        exported.cache,
        layout="shared" if shared else "concatenated",
        dtype="float16" if past is not None and past.dtype == ir.DataType.FLOAT16 else "float32",
        capacity=columns if isinstance(columns, int) else None,
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

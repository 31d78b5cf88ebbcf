"""Run a graph on calibration feeds and look at values inside it, without keeping them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.optimize.execute import Executor
from compiler.optimize.passes.base import Feeds
from compiler.optimize.samples import with_columns


def observe(model: ir.Model, names: Sequence[str], feeds: Sequence[Feeds]) -> Iterator[Feeds]:
    """The arrays of the named values, one feed at a time; only what they need is computed.

    Where a feed has an `attention_mask` (batch, sequence), a value (batch, sequence, width) is given as the rows of
    its real tokens, (tokens, width), so that padding does not take part in statistics.

    Raises:
        EngineError: ONNX Runtime cannot run the graph.
    """
    part = model.clone()
    values = ir.convenience.create_value_mapping(part.graph)
    inputs = {value.name for value in part.graph.inputs}
    part.graph.outputs[:] = [values[name] for name in names if name not in inputs]
    RemoveUnusedNodesPass()(part)
    wanted = (fitted(part.graph.inputs, feed) for feed in feeds)
    computed = Executor().stream(part, wanted) if part.graph.outputs else iter([{}] * len(feeds))
    for feed, arrays in zip(feeds, computed, strict=True):
        found = feed | arrays
        yield {name: _real(found[name], feed.get("attention_mask")) for name in names}


def fitted(inputs: Sequence[ir.Value], feed: Feeds) -> Feeds:
    """Those of the feed's arrays that these inputs take; an empty past gets the columns that the graph fixes."""
    found: Feeds = {}
    for value in inputs:
        if value.name in feed and value.dtype is not None and value.shape is not None:
            array = feed[value.name].astype(value.dtype.numpy(), copy=False)
            columns = value.shape[2] if (value.name or "").startswith("past_key_values.") else None
            if isinstance(columns, int):
                array = with_columns(array, columns)
            found[value.name] = array
    return found


def _real(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if mask is None or array.ndim != 3 or array.shape[:2] != mask.shape:
        return array
    rows: np.ndarray = array[mask.astype(bool)]
    return rows

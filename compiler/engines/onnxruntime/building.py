"""Make an engine folder: the model's files, opened once and described."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from compiler.engines import Feeds
from compiler.engines.onnxruntime.placement import describe, read_proto
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.errors import EngineError
from compiler.records import Built, EngineOptions, Optimized, Tensor, graph_files

_TOKENS = 32
_DIMS = {"batch": 1, "choices": 2, "sequence": _TOKENS, "encoder_sequence": _TOKENS, "kept": 1, "rank": 0}
_STEP = {**_DIMS, "sequence": 1, "past_sequence": _TOKENS, "total_sequence": _TOKENS + 1}


def build(
    optimized: Optimized,
    folder: Path,
    out: Path,
    options: EngineOptions,
    *,
    engine: str = "onnxruntime-cpu",
    provider: Provider = CPU,
) -> Built:
    started = time.perf_counter()
    files = copy(optimized, folder, out)
    placement = describe(out / optimized.model, options, sample_feeds(optimized), provider)
    if encoder := optimized.encoder:
        reading = describe(
            out / encoder.model, options, {tensor.name: sample(tensor, _DIMS) for tensor in encoder.inputs}, provider
        )
        placement += tuple(msgspec.structs.replace(row, graph="encoder") for row in reading)
    return Built(
        engine=engine,
        engine_version=str(onnxruntime.__version__),
        model=optimized.model,
        files=files,
        options=options,
        placement=placement,
        seconds=round(time.perf_counter() - started, 3),
    )


def copy(optimized: Optimized, folder: Path, out: Path) -> tuple[str, ...]:
    """Copy all graphs with their external data; the names of the files."""
    files: list[str] = []
    for model in graph_files(optimized):
        files += [model, *weight_files(folder / model)]
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, out / file)
    return tuple(files)


def sample_feeds(optimized: Optimized) -> Feeds:
    """One small call: 32 tokens for an encoder, one more token after 32 for a decoder."""
    cache = optimized.cache
    dims = _STEP if cache is not None and cache.layout != "none" else _DIMS
    if cache is not None and cache.capacity is not None:
        dims = dims | {"past_sequence": min(_TOKENS, cache.capacity - 1)}
    return {tensor.name: sample(tensor, dims) for tensor in optimized.inputs}


def sample(tensor: Tensor, dims: dict[str, int]) -> np.ndarray:
    """Values that an input may have, at these sizes of its named dims: ids of 0, nothing masked."""
    try:
        shape = [dims[dim] if isinstance(dim, str) else dim for dim in tensor.shape]
    except KeyError as error:
        raise EngineError(
            f'input "{tensor.name}": unknown dim {error}', found=str(tensor.shape), expected=", ".join(dims)
        ) from error
    match tensor.name:
        case "attention_mask" | "encoder_attention_mask":
            return np.ones(shape, tensor.dtype)
        case "position_ids":
            first = dims.get("past_sequence", 0)
            return np.broadcast_to(np.arange(first, first + shape[-1], dtype=tensor.dtype), shape).copy()
        case _:
            return np.zeros(shape, tensor.dtype)


def weight_files(model: Path) -> list[str]:
    """External data files of an ONNX model, relative to its folder."""
    weights = read_proto(model).graph.initializer
    return sorted({entry.value for tensor in weights for entry in tensor.external_data if entry.key == "location"})

"""Make an engine folder: the model's files, opened once and described."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import onnxruntime

from compiler.engines import onnx_file
from compiler.engines.onnxruntime.placement import describe
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.engines.sample_inputs import sample, sample_feeds
from compiler.records import Built, EngineOptions, Optimized


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
    files = onnx_file.copy(optimized, folder, out)
    placement = describe(out / optimized.model, options, sample_feeds(optimized), provider)
    if encoder := optimized.encoder:
        reading = describe(
            out / encoder.model, options, {tensor.name: sample(tensor) for tensor in encoder.inputs}, provider
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

"""The tensors between a model's layers, as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.engines import Feeds, onnx_file
from compiler.engines.onnxruntime.native import explained, open_native, session_options
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.records import EngineOptions

AT_ONCE = 6  # tensors in memory together


def watch(
    model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds, provider: Provider = CPU
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """See `Engine.watch`."""
    proto = onnx_file.read(model)
    leaving = {path: names for path in modules if (names := onnx_file.leaving(proto.graph, path))}
    for group in _groups(leaving):
        names = list(dict.fromkeys(name for path in group for name in leaving[path]))
        found = dict(zip(names, _run(proto, model, options, names, feeds, provider=provider), strict=True))
        for path in group:
            yield path, [found[name] for name in leaving[path]]


def _groups(leaving: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Modules with few tensors together, or a single one with many."""
    group: list[str] = []
    count = 0
    for path, names in leaving.items():
        if group and count + len(names) > AT_ONCE:
            yield group
            group, count = [], 0
        group.append(path)
        count += len(names)
    if group:
        yield group


def _run(
    proto: Any, model: Path, options: EngineOptions, names: Sequence[str], feeds: Feeds, *, provider: Provider
) -> list[np.ndarray]:
    """One call of the model with these tensors as its only outputs."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    native = session_options(options)
    native.add_session_config_entry("session.model_external_initializers_file_folder_path", str(model.parent))
    with explained(f"cannot show the layers of {model}"):
        session = open_native(shown.SerializeToString(), native, provider)
        wanted = {value.name for value in session.get_inputs()}
        found: list[np.ndarray] = session.run(list(names), {k: v for k, v in feeds.items() if k in wanted})
    return found

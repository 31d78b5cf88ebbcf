"""What really runs: one profiled call, read back node by node."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from compiler.engines import Feeds, onnx_file
from compiler.engines.onnxruntime.native import explained, open_native, session_options
from compiler.engines.onnxruntime.placement_guard import refuse_strays
from compiler.engines.onnxruntime.provider import CPU, Provider
from compiler.records import EngineOptions, Placement

_TIMED = "_kernel_time"
_INT8_KERNELS = {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
_INT8_FAMILIES = ("QLinear", "QGemm", "QAttention", "QEmbed", "ConvInteger")
_FLOATS = {"float": "float32", "float16": "float16", "bfloat16": "bfloat16", "double": "float64"}


def describe(model: Path, options: EngineOptions, feeds: Feeds, provider: Provider = CPU) -> tuple[Placement, ...]:
    """Count the nodes of the optimized graph by operator, provider and precision; largest share of time first.

    On a GPU the time is that of the host, which starts the kernels and does not wait for them.

    Raises:
        EngineError: the model cannot be opened or run, or a part of it ran on the CPU that should not.
    """
    with tempfile.TemporaryDirectory() as scratch, explained(f"cannot run {model}"):
        proto = onnx_file.read(model)
        if not provider.compiles:  # what a provider compiled it finds again by its nodes' names
            _name_nodes(proto)
        events = _profile(proto, model, options, feeds, provider, scratch=Path(scratch))
        optimized = proto if provider.compiles else onnx_file.read(Path(scratch) / "optimized.onnx")
    modules = _modules(proto.graph, optimized.graph)
    bits = {node.name: attribute.i for node in optimized.graph.node for attribute in node.attribute
            if attribute.name == "bits"}  # fmt: skip
    groups: dict[tuple[str, str, str], list[tuple[int, str]]] = defaultdict(list)
    for event in events:
        node, found = event["name"].removesuffix(_TIMED), event["args"]
        operator = found["op_name"]
        precision = _precision(operator, bits.get(node, 4), found["input_type_shape"])
        groups[operator, found["provider"], precision].append((event["dur"], modules.get(node, "")))
    whole = sum(event["dur"] for event in events) or 1
    rows = [
        Placement(
            operator=operator,
            provider=name,
            precision=precision,
            count=len(runs),
            time_share=round(sum(microseconds for microseconds, _ in runs) / whole, 4),
            modules=tuple(dict.fromkeys(module for _, module in runs if module))[: onnx_file.MODULES_SHOWN],
        )
        for (operator, name, precision), runs in groups.items()
    ]
    if provider.name != CPU.name:
        refuse_strays(rows, provider)
    return tuple(sorted(rows, key=lambda row: -row.time_share))


def _profile(
    proto: Any, model: Path, options: EngineOptions, feeds: Feeds, provider: Provider, *, scratch: Path
) -> list[dict[str, Any]]:
    """The events of every node in the second of two calls (the first one allocates)."""
    native = session_options(options)
    native.enable_profiling = True
    native.profile_file_prefix = str(scratch / "profile")
    opened: str | bytes = str(model)
    if not provider.compiles:
        opened = proto.SerializeToString()
        native.optimized_model_filepath = str(scratch / "optimized.onnx")
        for key, value in {
            "session.model_external_initializers_file_folder_path": str(model.parent),
            "session.optimized_model_external_initializers_file_name": "optimized.data",
            "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
        }.items():
            native.add_session_config_entry(key, value)
    session = open_native(opened, native, provider, {node.name: onnx_file.module(node) for node in proto.graph.node})
    for _ in range(2):
        session.run(None, feeds)
    events = json.loads(Path(session.end_profiling()).read_bytes())
    second = max(event["ts"] for event in events if event["name"] == "model_run")
    return [event for event in events if event["name"].endswith(_TIMED) and event["ts"] >= second]


def _name_nodes(proto: Any) -> None:
    """A name of its own for every node: the profile knows nothing else."""
    for index, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}.{index}"


def _modules(source: Any, optimized: Any) -> dict[str, str]:
    """Checkpoint module of each optimized node: its own, or that of the node whose output it took over by fusion."""
    by_name, by_output = {}, {}
    for node in source.node:
        by_name[node.name] = onnx_file.module(node)
        by_output.update(dict.fromkeys(node.output, onnx_file.module(node)))
    return {
        node.name: by_name.get(node.name) or next(filter(None, map(by_output.get, node.output)), "")
        for node in optimized.node
    }


def _precision(operator: str, bits: int, inputs: list[dict[str, Any]]) -> str:
    """What the kernel computes with, from its name and the types of what it was given."""
    if operator in onnx_file.BLOCKS:
        return f"int{bits} weights"
    if operator in _INT8_KERNELS or operator.startswith(_INT8_FAMILIES):
        return "int8"
    types = [kind for each in inputs for kind in each]
    return next((_FLOATS[kind] for kind in types if kind in _FLOATS), types[0] if types else "none")

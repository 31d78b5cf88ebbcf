"""What really runs: one profiled call, read back node by node."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnxruntime

from compiler.engines import Feeds
from compiler.engines.onnxruntime_cpu.session import PROVIDERS, explained, session_options
from compiler.errors import EngineError
from compiler.records import EngineOptions, Placement

MODULES_SHOWN = 4
_TIMED = "_kernel_time"
_INT8_KERNELS = {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
_INT8_FAMILIES = ("QLinear", "QGemm", "QAttention", "QEmbed", "ConvInteger")
_FLOATS = {"float": "float32", "float16": "float16", "bfloat16": "bfloat16", "double": "float64"}


def describe(model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
    """Count the nodes of the optimized graph by operator, provider and precision; largest share of time first."""
    with tempfile.TemporaryDirectory() as scratch, explained(f"cannot run {model}"):
        proto = _named(model)
        events = _profile(proto, model.parent, options, feeds, Path(scratch))
        optimized = read_proto(Path(scratch) / "optimized.onnx")
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
            provider=provider,
            precision=precision,
            count=len(runs),
            time_share=round(sum(microseconds for microseconds, _ in runs) / whole, 4),
            modules=tuple(dict.fromkeys(module for _, module in runs if module))[:MODULES_SHOWN],
        )
        for (operator, provider, precision), runs in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.time_share))


def _profile(proto: Any, weights: Path, options: EngineOptions, feeds: Feeds, scratch: Path) -> list[dict[str, Any]]:
    """The events of every node in the second of two calls (the first one allocates)."""
    native = session_options(options)
    native.enable_profiling = True
    native.profile_file_prefix = str(scratch / "profile")
    native.optimized_model_filepath = str(scratch / "optimized.onnx")
    for key, value in {
        "session.model_external_initializers_file_folder_path": str(weights),
        "session.optimized_model_external_initializers_file_name": "optimized.data",
        "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    }.items():
        native.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), native, providers=PROVIDERS)
    for _ in range(2):
        session.run(None, feeds)
    events = json.loads(Path(session.end_profiling()).read_bytes())
    second = max(event["ts"] for event in events if event["name"] == "model_run")
    return [event for event in events if event["name"].endswith(_TIMED) and event["ts"] >= second]


def _named(model: Path) -> Any:
    """The model, weights left on disk, with a name of its own for every node: the profile knows nothing else."""
    proto = read_proto(model)
    for index, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}.{index}"
    return proto


def _modules(source: Any, optimized: Any) -> dict[str, str]:
    """Checkpoint module of each optimized node: its own, or that of the node whose output it took over by fusion."""
    by_name, by_output = {}, {}
    for node in source.node:
        module = next((entry.value for entry in node.metadata_props if entry.key == "module"), "")
        by_name[node.name] = module
        by_output.update(dict.fromkeys(node.output, module))
    return {
        node.name: by_name.get(node.name) or next(filter(None, map(by_output.get, node.output)), "")
        for node in optimized.node
    }


def read_proto(path: Path) -> Any:
    """An `onnx.ModelProto` whose external weights stay on disk.

    Raises:
        EngineError: not an ONNX file.
    """
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own, which differ between its releases
        raise EngineError(f"cannot read {path}", found=str(error), expected="an ONNX model") from error


def _precision(operator: str, bits: int, inputs: list[dict[str, Any]]) -> str:
    """What the kernel computes with, from its name and the types of what it was given."""
    if operator in {"MatMulNBits", "GatherBlockQuantized"}:
        return f"int{bits} weights"
    if operator in _INT8_KERNELS or operator.startswith(_INT8_FAMILIES):
        return "int8"
    types = [kind for each in inputs for kind in each]
    return next((_FLOATS[kind] for kind in types if kind in _FLOATS), types[0] if types else "none")

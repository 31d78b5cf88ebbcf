"""bfloat16 where ONNX Runtime has no kernels for it: on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compiler.errors import EngineUnavailableError

FLOAT, BFLOAT16 = 1, 16  # of TensorProto.DataType


def in_float32(model: Any) -> bool:
    """Let a model with bfloat16 in it compute in float32, in place; whether it has any.

    Weights stay as they are stored, and what is cast to bfloat16 is rounded to it; what operators make of these is not.

    Args:
        model: an `onnx.ModelProto`; external data is not touched.
    """
    graph = model.graph
    narrow = [weight.name for weight in graph.initializer if weight.data_type == BFLOAT16]
    rounding = [node for node in graph.node if node.op_type == "Cast" and _target(node) == BFLOAT16]
    if not narrow and not rounding:
        return False
    wide = {name: f"{name}.float32" for name in [*narrow, *(node.output[0] for node in rounding)]}
    nodes = list(graph.node)
    for node in nodes:
        node.input[:] = [wide.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.name == "output_dtype" and attribute.i == BFLOAT16:
                attribute.i = FLOAT
    del graph.node[:]
    for name in narrow:
        _widen(graph, name, wide[name])
    for node in nodes:
        graph.node.add().CopyFrom(node)
        if node.op_type == "Cast" and _target(node) == BFLOAT16:
            _widen(graph, node.output[0], wide[node.output[0]])
    rounded = {node.output[0] for node in rounding}
    for value in (*graph.value_info, *graph.output):
        if value.type.tensor_type.elem_type == BFLOAT16 and value.name not in rounded:
            value.type.tensor_type.elem_type = FLOAT
    return True


def _target(node: Any) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")


def _widen(graph: Any, name: str, wide: str) -> None:
    node = graph.node.add()
    node.op_type, node.name = "Cast", wide
    node.input.append(name)
    node.output.append(wide)
    target = node.attribute.add()
    target.name, target.type, target.i = "to", 2, FLOAT  # AttributeProto.INT


def readable(model: str | bytes, session_options: Any) -> bytes | None:
    """What to open instead of a model that ONNX Runtime has refused; None where it has no bfloat16.

    Args:
        model: its path, or its bytes.
        session_options: an `onnxruntime.SessionOptions`, which is told where the weights lie.

    Raises:
        EngineUnavailableError: `onnx` is missing, which reads it.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailableError(
            "this model cannot be opened without onnx",
            found="numbers for which ONNX Runtime has no kernels here",
            action="pip install onnx",
        ) from error
    if isinstance(model, bytes):
        proto = onnx.ModelProto.FromString(model)
    else:
        proto = onnx.load(model, load_external_data=False)
        folder = str(Path(model).absolute().parent)
        session_options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    if not in_float32(proto):
        return None
    made: bytes = proto.SerializeToString()
    return made

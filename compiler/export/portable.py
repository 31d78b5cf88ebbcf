"""The raw traced graph -> the portable model on disk: named dims, module paths, weights stored once."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from compiler.checkpoint.failing import WRAPPER
from compiler.errors import ExportError
from compiler.export.graph_inputs import Signature

MODEL = "model.onnx"
ENCODER, DECODER = "encoder_model.onnx", "decoder_model.onnx"


def tidy(model: ir.Model, signature: Signature) -> None:
    """Rewrite in place: dims, names and metadata as users know them, nothing that ties the graph to this machine."""
    _name_dims(model, signature)
    for node in model.graph:
        node.metadata_props["module"] = _module_path(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        for key in [key for key in node.metadata_props if key != "module"]:
            del node.metadata_props[key]
        for value in node.outputs:
            value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
    for name in list(model.graph.initializers):
        if name.startswith(WRAPPER):
            model.graph.initializers[name].name = name.removeprefix(WRAPPER)
    _store_linear_weights_transposed(model)
    common.RemoveUnusedNodesPass()(model)
    common.IdentityEliminationPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    used = {value for node in model.graph for value in node.inputs}
    for value in [value for value in model.graph.inputs if value not in used]:
        model.graph.inputs.remove(value)
    model.producer_name = "transformer-compiler"
    model.producer_version = None


def save(model: ir.Model, folder: Path, name: str = MODEL) -> Path:
    """Write the graph and, beside it, its weights `<name>.data`, and let the ONNX checker read them back.

    Raises:
        ExportError: the checker refuses the graph.
    """
    path = folder / name
    ir.save(model, path, external_data=f"{name}.data")
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{path}: the ONNX checker refuses the exported graph", found=str(error)) from error
    return path


def _name_dims(model: ir.Model, signature: Signature) -> None:
    """Give every symbol of the tracer the dim name that the signature knows it by; forget the others."""
    names: dict[str, str] = {}
    for value, dims in zip(model.graph.inputs, signature.inputs.values(), strict=True):
        assert value.shape is not None
        for found, wanted in zip(value.shape, dims, strict=True):
            if isinstance(wanted, int):
                continue
            if isinstance(found, int):
                raise ExportError(
                    f'input "{value.name}": dim "{wanted}" came out fixed',
                    found=f"size {found}",
                    expected="any size",
                    action="the model's code depends on this size; it cannot be exported with it left open",
                )
            names.setdefault(str(found.value), wanted)
    if {"past_sequence", "sequence"} <= set(names.values()):
        symbol = {name: symbol for symbol, name in names.items()}
        for a, b in (("past_sequence", "sequence"), ("sequence", "past_sequence")):
            names[f"{symbol[a]} + {symbol[b]}"] = "total_sequence"

    def rename(shape: ir.Shape) -> ir.Shape:
        return ir.Shape([dim if isinstance(dim, int) else names.get(str(dim.value)) for dim in shape])

    for value in [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]:
        if value.shape is not None:
            value.shape = rename(value.shape)
    past = {value.name: value for value in model.graph.inputs}
    for value in model.graph.outputs:  # the tracer may have another expression for a length that is known by name
        before = past.get((value.name or "").replace("present.", "past_key_values."))
        if before is not None and before is not value and before.shape is not None:
            known = [dim if isinstance(dim, int) else dim.value for dim in before.shape]
            value.shape = ir.Shape(["total_sequence" if dim == "past_sequence" else dim for dim in known])


def _module_path(scopes: str) -> str:
    """The innermost module's path in the checkpoint. `scopes` is the tracer's list, outermost first, operator last."""
    inside = [scope for scope in ast.literal_eval(scopes)[:-1] if scope.startswith(WRAPPER)]
    return inside[-1].removeprefix(WRAPPER) if inside else ""


def _store_linear_weights_transposed(model: ir.Model) -> None:
    """A linear layer is traced as MatMul(x, Transpose(weight)). Store the weight the way MatMul reads it.

    A weight with another use (a head tied to the embedding) stays as it is, behind its Transpose: stored once.
    """
    for node in list(model.graph):
        weight = node.inputs[0] if node.op_type == "Transpose" else None
        if weight is None or weight.const_value is None or not weight.is_initializer() or len(weight.uses()) > 1:
            continue
        permutation = node.attributes["perm"].as_ints() if "perm" in node.attributes else None
        tensor = weight.const_value
        flipped = _transposed(tensor, permutation)
        output = node.outputs[0]
        weight.const_value = flipped
        weight.shape = ir.Shape(flipped.shape)
        ir.convenience.replace_all_uses_with(output, weight)
        model.graph.remove(node, safe=True)


def _transposed(tensor: ir.TensorProtocol, permutation: list[int] | tuple[int, ...] | None) -> ir.LazyTensor:
    shape = tuple(tensor.shape.numpy())
    order = tuple(permutation) if permutation is not None else tuple(reversed(range(len(shape))))

    def evaluate() -> ir.TensorProtocol:
        return ir.Tensor(np.ascontiguousarray(tensor.numpy().transpose(order)), name=tensor.name)

    make: Callable[[], ir.TensorProtocol] = evaluate
    return ir.LazyTensor(make, dtype=tensor.dtype, shape=ir.Shape([shape[axis] for axis in order]), name=tensor.name)

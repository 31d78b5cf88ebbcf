"""torch -> ONNX: trace the wrapped model with named dims."""

from __future__ import annotations

import contextlib
import io
import re
from types import TracebackType
from typing import Any

import onnx_ir as ir
import torch

from compiler.checkpoint.quiet import quiet
from compiler.errors import ExportError
from compiler.export import attention, experts
from compiler.export.graph_inputs import Signature
from compiler.export.portable import WRAPPER
from compiler.export.whole import whole_operators

# What torch says of a dim that the code took to be no larger: "sequence = Dim('sequence', max=704)".
BOUND = re.compile(r"= Dim\('\w+'.*?max=(\d+)\)")
SHORTEST = 2  # tokens that a dim has at least, for torch

# Dims that follow from others; torch.export works them out by itself.
DERIVED = {"total_sequence"}


def trace(model: Any, signature: Signature, context_length: int) -> tuple[ir.Model, int]:
    """Trace `signature.module` into a raw ONNX graph whose inputs carry the signature's names.

    Returns:
        the graph, and the context for which it is the model: less than `context_length` where the code takes another
        branch for longer texts (block-sparse attention), which a graph traced with short ones does not have.

    Raises:
        ExportError: torch cannot trace the model; names the module it stopped in.
    """
    attention.register()
    with quiet():  # models that do not route attention through the interface say so
        model.set_attn_implementation(attention.NAME)
    experts.register(model)
    try:
        with quiet(), torch.no_grad(), whole_operators(model):
            program, context = _export(signature, context_length)
            onnx_program = torch.onnx.export(
                program,
                (),
                opset_version=attention.OPSET,
                input_names=list(signature.inputs),
                output_names=list(signature.outputs),
                optimize=False,
                verbose=False,
            )
    except Exception as error:  # torch.export and torch.onnx raise dozens of kinds; all mean "not traceable"
        raise ExportError(
            f"{type(model).__name__} cannot be traced",
            found=_cause(error),
            action="report it with the model's config.json; the module named above is where tracing stopped",
        ) from error
    assert onnx_program is not None
    return onnx_program.model, context


def _export(signature: Signature, context: int) -> tuple[torch.export.ExportedProgram, int]:
    try:
        return _traced(signature, context), context
    except torch._dynamo.exc.UserError as error:
        if "Constraints violated" not in str(error):
            raise
        bound = min(map(int, BOUND.findall(str(error))), default=context)
        if bound < context - SHORTEST:
            return _export(signature, bound)
        # Code that slices a table of positions bounds past + sequence by the context, so each alone by nearly that.
        # The bound is the tracer's only; ONNX has none.
        return _traced(signature, context // 2), context


def _traced(signature: Signature, longest: int) -> torch.export.ExportedProgram:
    dims = {"batch": torch.export.Dim("batch")}

    def axes(shape: tuple[int | str, ...]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for axis, dim in enumerate(shape):
            if isinstance(dim, str):
                if dim not in dims and dim not in DERIVED:
                    dims[dim] = torch.export.Dim(dim, max=longest)
                found[axis] = dims.get(dim, torch.export.Dim.AUTO)
        return found

    shapes = tuple(axes(shape) for shape in signature.inputs.values())
    with contextlib.redirect_stderr(io.StringIO()):  # where torch prints the whole graph when it fails
        return torch.export.export(signature.module, signature.samples, dynamic_shapes=(shapes,), strict=False)


def _cause(error: Exception) -> str:
    """The first line of the innermost message, and the deepest module of the model that it came from."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    line = next((line.strip() for line in str(inner).splitlines() if line.strip()), type(inner).__name__)
    place = ""
    step = inner.__traceback__
    while step is not None:
        place = _module_called(step) or _module_converted(step) or place
        step = step.tb_next
    return f"{type(inner).__name__}: {line[:300]}{place}"


def _module_called(step: TracebackType) -> str:
    """The module whose forward this frame is."""
    code, owner = step.tb_frame.f_code, step.tb_frame.f_locals.get("self")
    if not isinstance(owner, torch.nn.Module) or "modeling_" not in code.co_filename:
        return ""
    file = re.sub(r".*/", "", code.co_filename)
    return f" in {type(owner).__name__} ({file}:{step.tb_lineno})"


def _module_converted(step: TracebackType) -> str:
    """The module of the operation that this frame turns into ONNX."""
    node = step.tb_frame.f_locals.get("node")
    modules = node.meta.get("nn_module_stack") if isinstance(node, torch.fx.Node) else None
    if not modules:
        return ""
    path, kind = list(modules.values())[-1]
    name = kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[2]
    return f" in {path.removeprefix(WRAPPER)} ({name})"

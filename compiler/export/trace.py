"""torch -> ONNX: trace the wrapped model with named dims."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import onnx_ir as ir
import torch

from compiler.checkpoint.failing import cause, modeling
from compiler.checkpoint.quiet import quiet
from compiler.errors import ExportError
from compiler.export import attention, experts
from compiler.export.fourier import real_fourier
from compiler.export.graph_inputs import Signature
from compiler.export.whole import whole_operators

# What torch says of a dim that the code took to be no larger: "sequence = Dim('sequence', max=704)".
BOUND = re.compile(r"= Dim\('\w+'.*?max=(\d+)\)")
LEAST = re.compile(r"= Dim\('\w+', min=(\d+)")  # and no smaller
SHORTEST = 2  # tokens that a dim has at least, for torch

REPORT = "choose a model of a family that docs/families.md lists, or report this one with its config.json"

# What torch says where one graph cannot be the model, by what its message has, and what that means.
UNTRACEABLE = {
    "Constraints violated": "one computation for texts of every length; this model's code has several",
    "data-dependent": "operations that do not depend on computed numbers; this model's code decides by them",
}

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
    with modeling(ExportError, f"{type(model).__name__} cannot be traced", REPORT), _explained(model):
        with quiet():  # models that do not route attention through the interface say so
            model.set_attn_implementation(attention.NAME)
        experts.register(model)
        with quiet(), torch.no_grad(), _rewritten(model):
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
    assert onnx_program is not None
    return onnx_program.model, context


@contextlib.contextmanager
def _rewritten(model: Any) -> Iterator[None]:
    """Within the block, what no tracer follows, or no engine computes well, is written in another way."""
    with whole_operators(model), experts.dense_experts(model), real_fourier(model), attention.AddedMasks():
        yield


@contextlib.contextmanager
def _explained(model: Any) -> Iterator[None]:
    """Within the block, what torch says of code that no graph can be of becomes an error that says so."""
    try:
        yield
    except RuntimeError as error:
        expected = next((meaning for said, meaning in UNTRACEABLE.items() if said in str(error)), "")
        if not expected:
            raise
        subject = f"{type(model).__name__} cannot be traced"
        raise ExportError(subject, found=cause(error), expected=expected, action=REPORT) from error


def _export(signature: Signature, context: int, least: int = SHORTEST) -> tuple[torch.export.ExportedProgram, int]:
    try:
        return _traced(signature, least, context), context
    except torch._dynamo.exc.UserError as error:
        if "Constraints violated" not in str(error):
            raise
        bound = min(map(int, BOUND.findall(str(error))), default=context)
        if bound < context - SHORTEST:
            return _export(signature, bound, least)
        # Code that shifts tokens by one (BART) bounds them from below, where what is left has one element; code that
        # slices a table of positions bounds past + sequence by the context, so each alone by nearly that. Such bounds
        # are the tracer's only; ONNX has none.
        most = context if bound == context else context // 2
        suggested = max(map(int, LEAST.findall(str(error))), default=least + 1)  # MobileBERT's has no suggestion
        return _traced(signature, max(least, suggested), most), context


def _traced(signature: Signature, least: int, longest: int) -> torch.export.ExportedProgram:
    dims = {"batch": torch.export.Dim("batch")}

    def axes(shape: tuple[int | str, ...]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for axis, dim in enumerate(shape):
            if isinstance(dim, str):
                if dim not in dims and dim not in DERIVED:
                    dims[dim] = torch.export.Dim(dim, min=least, max=longest)
                found[axis] = dims.get(dim, torch.export.Dim.AUTO)
        return found

    shapes = tuple(axes(shape) for shape in signature.inputs.values())
    with contextlib.redirect_stderr(io.StringIO()):  # where torch prints the whole graph when it fails
        return torch.export.export(signature.module, signature.samples, dynamic_shapes=(shapes,), strict=False)

"""What a model's own code in transformers fails with, as errors of ours that name the module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from compiler.errors import CheckpointError, CompilerError

WRAPPER = "model."  # what is traced holds the model under this name


@contextmanager
def modeling(kind: type[CompilerError], subject: str, action: str) -> Iterator[None]:
    """Within the block, whatever the model's code raises becomes an error of this kind.

    Errors of ours stay, and so do those of the disk.
    """
    try:
        yield
    except (CompilerError, OSError):
        raise
    except Exception as error:  # modeling code, torch.export and torch.onnx raise dozens of kinds
        raise kind(subject, found=cause(error), action=action) from error


@contextmanager
def running(model: Any) -> Iterator[None]:
    """While the reference runs (inference mode). Raises CheckpointError with the module that fails."""
    import torch

    subject = f"PyTorch gives no answers of {type(model).__name__} to compare with"
    with modeling(CheckpointError, subject, "report it with the model's config.json"), torch.inference_mode():
        yield


def cause(error: BaseException) -> str:
    """The first line of the innermost message, and the deepest module of the model that it came from."""
    inner = error
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
    import torch

    code, owner = step.tb_frame.f_code, step.tb_frame.f_locals.get("self")
    if not isinstance(owner, torch.nn.Module) or "modeling_" not in code.co_filename:
        return ""
    file = re.sub(r".*/", "", code.co_filename)
    return f" in {type(owner).__name__} ({file}:{step.tb_lineno})"


def _module_converted(step: TracebackType) -> str:
    """The module of the operation that this frame turns into ONNX."""
    import torch

    node = step.tb_frame.f_locals.get("node")
    modules = node.meta.get("nn_module_stack") if isinstance(node, torch.fx.Node) else None
    if not modules:
        return ""
    path, kind = list(modules.values())[-1]
    name = kind.__name__ if isinstance(kind, type) else str(kind).rpartition(".")[2]
    return f" in {path.removeprefix(WRAPPER)} ({name})"

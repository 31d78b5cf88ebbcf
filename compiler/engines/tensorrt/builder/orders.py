"""One plan, built by a process of its own: what it is told, and what it answers.

A crash of TensorRT's builder ends no more than that process, Ctrl-C needs no next step to wait for, and a fresh process
gives the same plan again: TensorRT for RTX orders some tensors by their addresses.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import msgspec

from compiler import errors
from compiler.engines import Report
from compiler.engines.plans import files as plans
from compiler.engines.plans.capabilities import FlavorName
from compiler.engines.plans.shapes import InputShapes
from compiler.engines.tensorrt.builder.sources import Node
from compiler.errors import CompilerError, EngineError
from compiler.records import Gpu, Placement, PlanOptions, Record, Tensor

TAIL_LINES = 12
LAUNCHER, WORKER = "compiler.engines.tensorrt.builder.launch", "compiler.engines.tensorrt.builder.worker"


class Order(Record, frozen=True):
    """What to build.

    Attributes:
        model: the ONNX file, relative to the folder; `nodes` are its own.
        file: where in the folder the plan is written.
        profiles: shapes of all inputs, for every optimization profile.
        inputs: as in the model's record, likewise `outputs`.
        gpu: the one that is built on, where there is one; `device` is its number.
    """

    model: str
    graph: str
    file: str
    flavor: FlavorName
    target: str
    options: PlanOptions
    profiles: tuple[InputShapes, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    gpu: Gpu | None
    device: int

    @property
    def title(self) -> str:
        """For a person: "sm89", "sm89 encoder"."""
        return f"{self.target} {self.graph}".strip()


class Step(Record, frozen=True, tag=True):
    """Progress: `done` of `total` steps of a phase."""

    message: str
    done: int
    total: int


class Done(Record, frozen=True, tag=True):
    """The plan is written; the fields are those of `Plan`."""

    sha256: str
    size: int
    flags: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: tuple[Placement, ...]


class Failed(Record, frozen=True, tag=True):
    """An error of `compiler.errors`, by the name of its class."""

    kind: str
    subject: str
    found: str
    expected: str
    action: str


Answer = Step | Done | Failed


def failed(error: CompilerError) -> Failed:
    """An error as an answer."""
    return Failed(
        kind=type(error).__name__,
        subject=error.subject,
        found=error.found,
        expected=error.expected,
        action=error.action,
    )


def carry_out(order: Order, folder: Path, report: Report) -> Done:
    """Let a process build a plan in `folder`; it ends with this call, whatever happens in it.

    Raises:
        CompilerError: what went wrong in it, or that it died.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name(f"{LAUNCHER.rpartition('.')[2]}.py")), WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(order),
            cwd=folder,
            start_new_session=True,  # Ctrl-C is ours alone; we end it
        )
        try:
            return _follow(process, order, report, log)
        finally:
            process.kill()
            process.wait()
            plans.sweep(folder / order.file)
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    cast("IO[bytes]", pipe).close()


def _follow(process: subprocess.Popen[bytes], order: Order, report: Report, log: IO[bytes]) -> Done:
    questions, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    with suppress(BrokenPipeError):  # it died; reading tells so, and why
        questions.write(msgspec.json.encode(order) + b"\n")
        questions.flush()
    for line in answers:
        match msgspec.json.decode(line, type=Answer):
            case Step(message=message, done=done, total=total):
                report(f"{order.title}: {message}", done, total)
            case Failed() as found:
                kind = getattr(errors, found.kind)
                raise kind(found.subject, found=found.found, expected=found.expected, action=found.action)
            case Done() as made:
                return made
    log.seek(0)
    tail = log.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
    raise EngineError(
        f"{order.flavor} died while it built {Path(order.model).name} for {order.title}",
        found="\n".join([f"exit status {process.wait()}", *tail]),
        action="free memory, or choose smaller shapes or another precision",
    )


def _environment(order: Order) -> dict[str, str]:
    """This environment, with this very package importable, nothing random, and the GPU that is meant."""
    import compiler

    root = str(Path(next(iter(compiler.__path__))).parent)
    changes = {
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONHASHSEED": "0",
    }
    if order.gpu:
        listed = os.environ.get("CUDA_VISIBLE_DEVICES")
        changes["CUDA_VISIBLE_DEVICES"] = listed.split(",")[order.device] if listed else str(order.device)
    return {**os.environ, **changes}

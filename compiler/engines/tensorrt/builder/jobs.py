"""One plan, built by a process of its own: what it is told, and what it answers.

A crash of TensorRT's builder ends no more than that process, Ctrl-C needs no next step to wait for, and a fresh process
gives the same plan again: TensorRT for RTX orders some tensors by their addresses.
"""

from __future__ import annotations

import os
from pathlib import Path

from compiler.engines.plans import files as plans
from compiler.engines.plans.capabilities import FlavorName
from compiler.engines.plans.shapes import InputShapes
from compiler.engines.tensorrt.builder.sources import Node
from compiler.progress import Report
from compiler.records import Gpu, Placement, PlanOptions, Record, Tensor
from compiler.workers import Process

LAUNCHER, WORKER = "compiler.engines.tensorrt.builder.launch", "compiler.engines.tensorrt.builder.worker"


class PlanJob(Record, frozen=True):
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


class Done(Record, frozen=True):
    """The plan is written; the fields are those of `Plan`."""

    sha256: str
    size: int
    flags: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: tuple[Placement, ...]


def run_job(job: PlanJob, folder: Path, report: Report) -> Done:
    """Let a process build a plan in `folder`; it ends with this call, whatever happens in it.

    Raises:
        CompilerError: what went wrong in it, or that it died.
    """
    process = Process(
        WORKER,
        subject=f"{job.flavor} died while it built {Path(job.model).name} for {job.title}",
        action="free memory, or choose smaller shapes or another precision",
        folder=folder,
        environment=_environment(job),
        start=[str(Path(__file__).with_name(f"{LAUNCHER.rpartition('.')[2]}.py"))],
    )
    try:
        with process:
            return process.ask(job, Done, lambda message, done, total: report(f"{job.title}: {message}", done, total))
    finally:
        plans.sweep(folder / job.file)


# Each thread's memory in a place of its own, and grown in steps that no plan outgrows: where things lie must not depend
# on when threads ran.
APART = "glibc.malloc.arena_max=256:glibc.malloc.top_pad=268435456"


def _environment(job: PlanJob) -> dict[str, str]:
    """Nothing random, and the GPU that is meant."""
    tunables = filter(None, [os.environ.get("GLIBC_TUNABLES"), APART])
    changes = {"PYTHONHASHSEED": "0", "GLIBC_TUNABLES": ":".join(tunables)}
    if job.gpu:
        listed = os.environ.get("CUDA_VISIBLE_DEVICES")
        changes["CUDA_VISIBLE_DEVICES"] = listed.split(",")[job.device] if listed else str(job.device)
    return changes

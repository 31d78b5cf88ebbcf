"""An engine on disk, and what really runs in it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.model import Tensor

Range = tuple[int, int, int]
Shapes = dict[str, Range]


class Placement(Record, frozen=True):
    """Nodes that ran with one operator, device and precision, counted, and their share of the time of one call.

    `provider` is the engine's word for the device code. `precision` is what the kernel computes with ("float32",
    "int8", "int4 weights", ...), `modules` names checkpoint modules they came from (at most a few, for a person),
    `graph` is "encoder" for the first of the two graphs of an encoder-decoder; each graph's shares add up to 1.
    """

    operator: str
    provider: str
    precision: str
    count: int
    time_share: float = 0.0
    modules: tuple[str, ...] = ()
    graph: str = ""


class PlanOptions(Record, frozen=True):
    """How TensorRT plans are built.

    Attributes:
        targets: compute capabilities, as in "sm89"; a plan is built for each.
        shapes: buckets of shapes, each the smallest, the usual and the largest size of every named dim. A plan holds
            one optimization profile for each; sizes beyond what the model can take are cut.
        optimization_level: 0 to 5, how long TensorRT looks for faster kernels.
        version_compatible: later TensorRT versions can read the plan.
        hardware_compatible: which other GPUs of the same make can run the plan.
        weight_streaming: weights may stay in host memory.
        strip: leave the weights out of the plan; they are put back from the model when it is loaded.
        workspace_bytes: scratch memory that kernels may take; 0 leaves it to TensorRT.
    """

    targets: tuple[str, ...] = ()
    shapes: tuple[Shapes, ...] = ()
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] = 3
    version_compatible: bool = False
    hardware_compatible: Literal["none", "ampere-plus", "same-compute-capability"] = "none"
    weight_streaming: bool = False
    strip: bool = False
    workspace_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0


class Plan(Record, frozen=True):
    """A TensorRT plan: one graph, compiled for one kind of GPU. It is executable code.

    Attributes:
        target: compute capability, as in "sm89".
        graph: "encoder" for the first of the two graphs of an encoder-decoder.
        file: relative to the bundle's folder.
        sha256: of the file; it is compared before the plan is read.
        flavor: "tensorrt" or "tensorrt-rtx".
        version: the flavor's four-part version.
        flags: names of the builder flags that were set, sorted.
        shapes: per optimization profile, for every input, its smallest, usual and largest shape.
        inputs: as TensorRT sees them; dtype is numpy's name, or "bfloat16".
        outputs: likewise.
        layers: the network's layers as parsed, before TensorRT's own fusion.
        model_sha256: of the ONNX file that it was built from, and of its external data.
        stripped: it lacks its weights, which are put back from the model.
        key: a SHA-256 over everything that decided the plan.
    """

    target: str
    file: str
    sha256: str
    size: int
    flavor: Literal["tensorrt", "tensorrt-rtx"]
    version: str
    flags: tuple[str, ...]
    optimization_level: int
    shapes: tuple[dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]], ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: tuple[Placement, ...]
    model_sha256: str
    key: str
    seconds: float
    graph: str = ""
    hardware_compatible: str = "none"
    stripped: bool = False


class EngineOptions(Record, frozen=True):
    """What a session is opened with. `threads` 0 means every physical core of the machine that runs it; there are
    never more than its logical cores.

    `device` is the GPU's number. `plans` is set where TensorRT plans are built beside the model. `cuda_graph` records
    calls of fixed shapes on a GPU once and replays them: each recorded shape takes memory of its own.
    """

    threads: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    spinning: bool = True
    device: Annotated[int, msgspec.Meta(ge=0, le=1023)] = 0
    cuda_graph: bool = False
    plans: PlanOptions | None = None


class Serving(Record, frozen=True):
    """What answers in a session: the engine and its version, and why this one where there was a choice.

    `fallback`: it is another engine than the bundle's own, and runs the model in place of its plans.
    """

    engine: str
    version: str
    reason: str = ""
    fallback: bool = False


class Built(Record, frozen=True):
    """An engine on disk. `files` are relative to the record's folder; `model` is the one to open."""

    engine: str
    engine_version: str
    model: str
    files: tuple[str, ...]
    options: EngineOptions
    placement: tuple[Placement, ...]
    seconds: float
    plans: tuple[Plan, ...] = ()
    schema_version: int = SCHEMA_VERSION

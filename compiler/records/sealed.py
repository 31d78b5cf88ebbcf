"""What a bundle says about itself."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.engine import EngineOptions, Placement, Plan
from compiler.records.model import Adapter, CacheShape, Count, Graph, Kind, Padding, PassRun, Size, Source, Tensor
from compiler.records.pooling import Pooling
from compiler.records.proof import Checked, Machine, Measured


class Certificate(Record, frozen=True):
    """The verdict and everything it rests on.

    It holds for texts of up to `context_length` tokens. The checkpoint states `stated_context`; where that is more,
    `context_reason` says why it is not promised. `unread` is what of the checkpoint was not read since no answer
    depends on it. Where `padding` "changes answers", only texts of equal length are read together.
    """

    verdict: Literal["pass", "fail"]
    reasons: tuple[str, ...]
    source: Source
    task: str
    profile: str
    precision: str
    budget: dict[str, float]
    created: str
    passes: tuple[PassRun, ...]
    placement: tuple[Placement, ...]
    checked: Checked
    measured: Measured | None
    machine: Machine
    versions: dict[str, str]
    plans: tuple[Plan, ...] = ()
    context_length: int = 0
    stated_context: int = 0
    context_reason: str = ""
    padding: Padding = "hidden"
    unread: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


class FileEntry(Record, frozen=True):
    sha256: str
    size: Annotated[int, msgspec.Meta(ge=0)]


class Manifest(Record, frozen=True):
    """What a bundle is: everything the runtime needs to open it, and the digest of every other file in it.

    `inputs` are what a caller feeds; the graph's `adapter_inputs` are fed for the adapter that a request names.
    `activation` is what a classifier's checkpoint says is done with its logits (None: it does not say).
    Unless `padding` is "hidden", only texts of equal length are read together.
    """

    source: Source
    task: str
    kind: Kind
    architecture: str
    model_type: str
    profile: str
    precision: str
    engine: str
    engine_version: str
    model: str
    options: EngineOptions
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    context_length: Size
    vocabulary: Size
    parameters: Count
    versions: dict[str, str]
    files: dict[str, FileEntry]
    cache: CacheShape | None = None
    pooling: Pooling | None = None
    activation: Literal["sigmoid", "none"] | None = None
    encoder: Graph | None = None
    token_rows: int = 0
    padding: Padding = "unknown"
    adapters: tuple[Adapter, ...] = ()
    adapter_inputs: tuple[Tensor, ...] = ()
    plans: tuple[Plan, ...] = ()
    schema_version: int = SCHEMA_VERSION

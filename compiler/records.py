"""The frozen records that stages read and write.

A compilation is a chain of these on disk: every stage reads the record before it and writes its own, as JSON, next
to the files it made. `load` and `save` are the only way in and out; a field that is unknown or of the wrong type is
an error that names its path. `schema` gives the JSON Schema of any record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from compiler.errors import IntegrityError

SCHEMA_VERSION = 1

Kind = Literal["encoder", "decoder"]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all records: immutable, strict about unknown keys."""


R = TypeVar("R", bound=msgspec.Struct)


# --- checkpoint -----------------------------------------------------------------------------------------------------


class Source(Record, frozen=True):
    """Where the weights came from, and their identity.

    `digest` is the SHA-256 over the names and contents of the files that decide the answers (weights, configuration,
    tokenizer), so two sources with one digest are the same model. `location` is what the user typed.
    """

    kind: Literal["hub", "folder", "gguf"]
    location: str
    digest: str
    revision: str | None = None


# --- export ---------------------------------------------------------------------------------------------------------


class Tensor(Record, frozen=True):
    """A graph input or output. A dim is a size or a name; equal names are equal sizes. `dtype` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class CacheShape(Record, frozen=True):
    """The key/value cache of a decoder: per layer a key and a value of (batch, kv_heads, length, head_dim) float32.

    layout "concatenated": `present` is `past` with the new tokens appended, `attention_mask` (batch, total) marks the
    columns that hold real tokens and `position_ids` numbers them. layout "shared": `past` and `present` may be one
    buffer of any capacity, row b's tokens lie at columns 0 .. length[b] - 1, and `attention_mask` row b is length[b]
    ones, then zeros (rows are padded on the right).
    """

    layers: int
    kv_heads: int
    head_dim: int
    layout: Literal["concatenated", "shared"] = "concatenated"


class Pooling(Record, frozen=True):
    """How a checkpoint turns token vectors (batch, sequence, hidden) into one vector a text (batch, hidden).

    `max_length` is the number of tokens after which the checkpoint cuts a text (None: the context length).
    """

    mode: Literal["mean", "cls", "last"]
    normalize: bool
    max_length: int | None = None


class Exported(Record, frozen=True):
    """The portable model: `model` (and its `.data` beside it) is standard ONNX that knows no hardware."""

    source: Source
    task: str
    kind: Kind
    architecture: str
    model_type: str
    model: str
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    context_length: int
    vocabulary: int
    seconds: float
    versions: dict[str, str]
    cache: CacheShape | None = None
    pooling: Pooling | None = None
    schema_version: int = SCHEMA_VERSION


# --- optimize -------------------------------------------------------------------------------------------------------


class PassRun(Record, frozen=True):
    """What one pass did. `kept` is false where the guard found changed answers and the pass was undone.

    `error` is the largest absolute difference of any output that the pass caused on the sample feeds, relative to
    the largest absolute output (None where the pass changed nothing).
    """

    name: str
    options: dict[str, Any]
    modified: bool
    kept: bool
    nodes_before: int
    nodes_after: int
    seconds: float
    error: float | None = None
    reason: str = ""


class Optimized(Record, frozen=True):
    """A model lowered for one profile. `inputs` and `outputs` are the lowered graph's own."""

    exported: Exported
    profile: str
    precision: str
    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    passes: tuple[PassRun, ...]
    op_counts: dict[str, int]
    seconds: float
    cache: CacheShape | None = None
    schema_version: int = SCHEMA_VERSION


# --- build ----------------------------------------------------------------------------------------------------------


class Placement(Record, frozen=True):
    """Nodes that ran with one operator, device and precision, counted, and their share of the time of one call.

    `provider` is the engine's word for the device code. `precision` is what the kernel computes with ("float32",
    "int8", "int4 weights", ...), `modules` names checkpoint modules they came from (at most a few, for a person).
    """

    operator: str
    provider: str
    precision: str
    count: int
    time_share: float = 0.0
    modules: tuple[str, ...] = ()


class EngineOptions(Record, frozen=True):
    """What a session is opened with. `threads` 0 means every physical core of the machine that runs it."""

    threads: int = 0
    spinning: bool = True


class Built(Record, frozen=True):
    """An engine on disk. `files` are relative to the record's folder; `model` is the one to open."""

    engine: str
    engine_version: str
    model: str
    files: tuple[str, ...]
    options: EngineOptions
    placement: tuple[Placement, ...]
    seconds: float
    schema_version: int = SCHEMA_VERSION


# --- check ----------------------------------------------------------------------------------------------------------


class Finding(Record, frozen=True):
    """One comparison with the reference: `value` against `limit`, in `unit`, over `samples` items.

    `better` says on which side of the limit a passing value lies. `limit` None means shown, but not judged.
    """

    name: str
    value: float
    unit: str
    samples: int
    better: Literal["lower", "higher"]
    limit: float | None = None
    basis: str = ""

    @property
    def passed(self) -> bool:
        """False when outside the limit; NaN never passes a limit."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


class Checked(Record, frozen=True):
    """Parity with PyTorch float32. `reasons` are machine-readable codes, one for every finding outside its limit."""

    precision: str
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    noise: float
    seconds: float
    schema_version: int = SCHEMA_VERSION

    @property
    def passed(self) -> bool:
        return not self.reasons


# --- measure --------------------------------------------------------------------------------------------------------


class Series(Record, frozen=True):
    """Raw samples of one measurement. `unit` is "ms", "tokens/s", "sentences/s"; statistics are derived, not stored."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    samples: tuple[float, ...]


class Runner(Record, frozen=True):
    """One runner (our engine, or PyTorch eager), measured in a process of its own."""

    name: str
    version: str
    threads: int
    series: tuple[Series, ...]
    load_seconds: float
    peak_memory_bytes: int
    disk_bytes: int


class Measured(Record, frozen=True):
    engine: Runner
    reference: Runner | None
    machine: Machine
    seconds: float
    schema_version: int = SCHEMA_VERSION


class Machine(Record, frozen=True):
    """The machine a record was made on, as far as it decides speed and rounding."""

    cpu: str
    architecture: str
    features: tuple[str, ...]
    physical_cores: int
    logical_cores: int
    memory_bytes: int
    system: str
    python: str


# --- seal -----------------------------------------------------------------------------------------------------------


class Certificate(Record, frozen=True):
    """The verdict and everything it rests on."""

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
    schema_version: int = SCHEMA_VERSION


class FileEntry(Record, frozen=True):
    sha256: str
    size: int


class Manifest(Record, frozen=True):
    """What a bundle is: everything the runtime needs to open it, and the digest of every other file in it."""

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
    context_length: int
    vocabulary: int
    parameters: int
    versions: dict[str, str]
    files: dict[str, FileEntry]
    cache: CacheShape | None = None
    pooling: Pooling | None = None
    schema_version: int = SCHEMA_VERSION


# --- disk -----------------------------------------------------------------------------------------------------------


def encode(record: msgspec.Struct) -> bytes:
    """The record as indented JSON, UTF-8, keys in declaration order."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def save(record: msgspec.Struct, path: Path) -> None:
    path.write_bytes(encode(record))


def load(path: Path, kind: type[R]) -> R:
    """Read a record back.

    Raises:
        IntegrityError: the file is missing, is not JSON, or does not fit the record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path}: no such file", expected=f"a {kind.__name__} record", action="point to a folder that a stage wrote"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{path}: not a valid {kind.__name__} record",
            found=str(error),
            action="rebuild it; it was changed or written by another version",
        ) from error


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON Schema of a record."""
    return msgspec.json.schema(kind)

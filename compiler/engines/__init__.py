"""Engines: what runs a lowered model. One module each behind one Protocol, and a literal table.

A module is imported only when its engine is asked for; a missing wheel is an `EngineUnavailableError` that names the
command which installs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast, runtime_checkable

import numpy as np

from compiler.engines.adapted import AdaptedSession, rank_zero
from compiler.errors import EngineUnavailableError, UsageError, did_you_mean
from compiler.progress import Report, unreported
from compiler.records import Built, CacheShape, EngineOptions, Manifest, Optimized, Placement, Plan, Serving

Feeds = dict[str, np.ndarray]
PlanBuilding = Literal["none", "here", "ahead"]


class Decoding(Protocol):
    """A generation in progress: a key/value cache of fixed capacity that lives in the engine's own memory.

    Rows are padded on the right; every row has its own length. The first call is the prompt.
    """

    capacity: int

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Append tokens and give the logits after each row's last real token.

        Args:
            input_ids: (batch, sequence) int64. After the first call, sequence is 1, or any length when batch is 1.
            lengths: (batch,) int64, tokens that each row has in total after this call.

        Returns:
            (batch, vocabulary) float32, valid until the next call.
        """
        ...

    def select(self, rows: np.ndarray) -> None:
        """Go on with these rows (new batch,) int64 in this order; one may be left out, or come more than once."""
        ...

    def truncate(self, length: int) -> None:
        """Forget what a single row holds behind its first `length` tokens. Raises InputError for several rows."""
        ...


class Session(Protocol):
    """A loaded engine. `run` is safe to call from several threads at once."""

    def run(self, feeds: Feeds) -> Feeds: ...

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        """Start a generation for `batch` rows of at most `capacity` tokens each (prompt and answer).

        `constants` are inputs that stay the same in every step: cross keys and values, an adapter's matrices. Those
        whose first dim is "batch" have a row for each row, and follow `select`.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class EncoderDecoderSession(Session, Protocol):
    """Two graphs: `run` and `decode` are the decoder's."""

    def encode(self, feeds: Feeds) -> Feeds:
        """Read texts: `input_ids`, `attention_mask` (batch, encoder_sequence) to all cross keys and values."""
        ...


class Pair:
    """The two sessions of an encoder-decoder as one."""

    def __init__(self, encoder: Session, decoder: Session) -> None:
        self._encoder, self._decoder = encoder, decoder

    def encode(self, feeds: Feeds) -> Feeds:
        """See `EncoderDecoderSession.encode`."""
        return self._encoder.run(feeds)

    def run(self, feeds: Feeds) -> Feeds:
        """One call of the decoder."""
        return self._decoder.run(feeds)

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        """See `Session.decode`."""
        return self._decoder.decode(cache, batch, capacity, constants)

    def close(self) -> None:
        self._encoder.close()
        self._decoder.close()


class Engine(Protocol):
    """What every module of `ENGINES` gives.

    Attributes:
        name: its key in `ENGINES`.
        plans: whether it compiles plans for named shapes, for the device that is here or ahead for others.
    """

    name: str
    plans: PlanBuilding

    def version(self) -> str: ...

    def why_unavailable(self) -> str | None:
        """None when it can open bundles here, otherwise the reason and the command that installs it."""
        ...

    def why_not_whole(self) -> str | None:
        """None when what it builds runs here as it was built, otherwise why another engine would stand in for it."""
        ...

    def ready(self, options: EngineOptions, formats: Collection[str] = ()) -> None:
        """Raise EngineUnavailableError if `build` cannot be done here, of a model with these number formats.

        Called before any work. `formats` are those beyond float32, in the words of `Pass.formats`.
        """
        ...

    def build(
        self, optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = unreported
    ) -> Built:
        """Compile `folder / optimized.model` into `out`. Raises EngineError."""
        ...

    def serving(self, options: EngineOptions, plans: Sequence[Plan] = ()) -> Serving:
        """What would answer if a graph with these plans were opened here, and why."""
        ...

    def open(self, model: Path, options: EngineOptions, plans: Sequence[Plan] = ()) -> Session:
        """Load an engine file; `plans` are of this graph, and lie in its folder. Raises EngineError, IntegrityError."""
        ...

    def describe(self, model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
        """What really runs: every node's operator, device and precision, from one profiled call."""
        ...

    def watch(
        self, model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds
    ) -> Iterator[tuple[str, list[np.ndarray]]]:
        """The tensors that leave each of these modules of the checkpoint, for one call of the model.

        Several tensors may leave a module, in any order; which of them is its output shows in their values. A module
        of which the engine keeps no such tensor is left out. Few modules' tensors are in memory at a time.
        """
        ...

    def precisions(self, model: Path) -> dict[str, str]:
        """What products with weights compute in ("int8", "int4 weights", ...), of every module that has one.

        Raises EngineError.
        """
        ...


if TYPE_CHECKING:  # so that every module is held against the Protocol
    from compiler.engines import tensorrt
    from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
    from compiler.engines.onnxruntime import cuda as onnxruntime_cuda
    from compiler.engines.onnxruntime import tensorrt as onnxruntime_tensorrt

    _MODULES: tuple[Engine, ...] = (onnxruntime_cpu, onnxruntime_cuda, onnxruntime_tensorrt, tensorrt)

ENGINES: dict[str, str] = {
    "onnxruntime-cpu": "compiler.engines.onnxruntime.cpu",
    "onnxruntime-cuda": "compiler.engines.onnxruntime.cuda",
    "onnxruntime-tensorrt": "compiler.engines.onnxruntime.tensorrt",
    "tensorrt": "compiler.engines.tensorrt",
}


def known(name: str) -> Engine:
    """The engine of that name, whether or not it is available here.

    Raises:
        UsageError: no engine has this name.
    """
    if name not in ENGINES:
        raise UsageError(f'engine "{name}" is unknown', expected=", ".join(ENGINES), action=did_you_mean(name, ENGINES))
    return cast("Engine", importlib.import_module(ENGINES[name]))


def engine(name: str) -> Engine:
    """The engine of that name, ready to use.

    Raises:
        UsageError: no engine has this name.
        EngineUnavailableError: its wheel or its hardware is missing here.
    """
    found = known(name)
    if reason := found.why_unavailable():
        raise EngineUnavailableError(f'engine "{name}" is not available here', found=reason)
    return found


def planning(*when: PlanBuilding) -> tuple[str, ...]:
    """Names of the engines that build plans at these times."""
    return tuple(name for name in ENGINES if known(name).plans in when)


def open_bundle(folder: Path, manifest: Manifest, options: EngineOptions) -> Session:
    """All graphs of a bundle as one session; an `EncoderDecoderSession` where there are two.

    Where the bundle has adapters to choose from, it is an `AdaptedSession` with none of them in effect.

    Raises:
        EngineUnavailableError: the engine is missing here.
        EngineError: it cannot open a graph.
        IntegrityError: a plan is not the file that was built.
    """
    module = engine(manifest.engine)
    plans = {graph: [plan for plan in manifest.plans if plan.graph == graph] for graph in ("", "encoder")}
    session = module.open(folder / manifest.model, options, plans[""])
    if manifest.adapter_inputs:
        session = AdaptedSession(session, rank_zero(manifest.adapter_inputs))
    if manifest.encoder is None:
        return session
    return Pair(module.open(folder / manifest.encoder.model, options, plans["encoder"]), session)


def serving(manifest: Manifest, options: EngineOptions) -> Serving:
    """What answers when the bundle is opened here, and why. Raises as `open_bundle` does."""
    return engine(manifest.engine).serving(options, [plan for plan in manifest.plans if not plan.graph])

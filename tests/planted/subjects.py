"""The tiny models that faults are planted into: what they are, and the same built and open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir

from compiler import bundle, pipeline, profile, records
from compiler.checkpoint.arithmetic import Arithmetic
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.reference import Reference
from compiler.engines import Feeds, Session, open_bundle
from compiler.records import Budget, EngineOptions, Manifest, PassRun
from compiler.runtime.adapters import Adapters
from compiler.tasks import TASKS
from tests.families import FAMILIES, GENERATE, REWRITE, Family, checkpoint, family
from tests.peft_adapters import adapter, lora

PROFILE = "cpu-x86-avx2"
RANKS = {"one": 4, "two": 2}  # of the adapters that the Llama has
OPTIONS = EngineOptions(threads=1, spinning=False)

# What each has that the others lack: pairs and learned positions; a window on both sides; positions that count
# padding, and an answer from one token; a causal window, grouped heads; experts; biases; adapters; relative positions;
# learned positions on both sides.
SUBJECTS: dict[str, Family] = {
    "bert": family("bert", "feature-extraction"),
    "modernbert": family("modernbert", "feature-extraction"),
    "roberta": family("roberta", "text-classification"),
    "mistral": family("mistral", GENERATE),
    "qwen3-moe": family("qwen3_moe", GENERATE),
    "gpt2": family("gpt2", GENERATE),
    "llama": family("llama", GENERATE),
    "t5": family("t5", REWRITE),
    "bart": family("bart", REWRITE),
}
# By the words of `scripts/planted_faults --precision`, the profile's own; decoders alone have 4 bits.
PRECISIONS = {"float32": "float32", "int8": "int8-dynamic", "int4": "int4-weights"}
# The right engine is outside the profile's budget: of few close logits it agrees at 0.84 (Qwen3-MoE, and the Llama with
# one of its adapters) of the positions for 0.85.
TOO_COARSE = {("qwen3-moe", "int4"), ("llama", "int4")}
assert all(row in FAMILIES for row in SUBJECTS.values())


def offered(name: str) -> list[str]:
    """The precisions that a subject is built in."""
    recipe = profile.load(PROFILE).recipe(TASKS[SUBJECTS[name].task].kind)
    return [
        word
        for word, precision in PRECISIONS.items()
        if precision in recipe.precisions and (name, word) not in TOO_COARSE
    ]


class Remembering:
    """A reference that computes the answer to each question once, and is opened no more after that."""

    def __init__(self, folder: Path, task: str, dtype: Arithmetic) -> None:
        self._opening = folder, task, dtype
        self._model: Reference | None = None
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "start_token":
            return self._ask(name, ())
        return lambda *arguments: self._ask(name, arguments)

    def close(self) -> None:
        """Keep the answers."""

    def _ask(self, name: str, arguments: tuple[Any, ...]) -> Any:
        key = (name, *map(_key, arguments))
        if key not in self._known:
            if self._model is None:
                self._model = Reference(*self._opening)
            found = getattr(self._model, name)
            self._known[key] = found if name == "start_token" else found(*arguments)
        return self._known[key]


def _key(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return argument.shape, argument.tobytes()
    if isinstance(argument, dict):
        return tuple((name, _key(each)) for name, each in sorted(argument.items()))
    return argument


@dataclass
class Subject:
    """A built model.

    Attributes:
        precision: a key of `PRECISIONS`.
        folder: the bundle.
        adapters: each one's matrices, by name.
        passes: what made its graphs.
        budget: what it was certified with.
    """

    name: str
    precision: str
    folder: Path
    manifest: Manifest
    checkpoints: dict[str, Path]
    adapters: dict[str, Feeds]
    passes: Sequence[PassRun]
    budget: Budget
    _references: dict[tuple[str, str], Remembering] = field(default_factory=dict)

    def reference(self, dtype: Arithmetic, adapter: str = "") -> Remembering:
        """The checkpoint in PyTorch, with one of its adapters."""
        key = (adapter, dtype)
        if key not in self._references:
            self._references[key] = Remembering(self.checkpoints[adapter], self.manifest.task, dtype)
        return self._references[key]

    def graph(self, which: str = "") -> ir.Model:
        """A graph of the bundle, in memory."""
        model = ir.load(self.folder / self.file(which))
        ir.external_data.load_to_model(model)
        return model

    def file(self, which: str) -> str:
        if not which:
            return self.manifest.model
        assert self.manifest.encoder is not None
        return self.manifest.encoder.model

    @contextmanager
    def opened(self, folder: Path | None = None) -> Iterator[Session]:
        """The engine on the bundle's graphs, or on those in another folder."""
        with closing(open_bundle(folder or self.folder, self.manifest, OPTIONS)) as session:
            yield session


def build(name: str, folder: Path, precision: str = "float32") -> Subject:
    """Compile a subject under `folder`, its cache included."""
    row = SUBJECTS[name]
    saved, out = folder / name, folder / f"{name}-{precision}-bundle"
    before = os.environ.get("TRANSFORMER_COMPILER_CACHE")
    os.environ["TRANSFORMER_COMPILER_CACHE"] = str(folder / "cache")
    try:
        checkpoint(row, saved)
        given = []
        for each, rank in RANKS.items() if name == "llama" else ():
            made = adapter(saved, folder / f"{name}-{each}", lora("llama", r=rank, lora_alpha=8), seed=rank)
            given.append(f"{each}={made}")
        with quiet():
            pipeline.build(
                str(saved),
                task=row.task,
                profile=PROFILE,
                precision=PRECISIONS[precision],
                bench=False,
                out=out,
                adapters=given,
            )
        manifest = bundle.verify(out)
        found = pipeline.checkpoint_of(manifest, None)
    finally:
        os.environ.pop("TRANSFORMER_COMPILER_CACHE")
        if before is not None:
            os.environ["TRANSFORMER_COMPILER_CACHE"] = before
    certificate = records.load(out / bundle.CERTIFICATE, records.Certificate)
    assert certificate.verdict == "pass"
    reader = Adapters(bundle.Files(out, manifest), manifest)
    return Subject(
        name=name,
        precision=precision,
        folder=out,
        manifest=manifest,
        checkpoints={"": found.folder, **{each.name: each.joined or each.folder for each in found.adapters}},
        adapters={each.name: reader._read(each) for each in manifest.adapters},
        passes=certificate.passes,
        budget=msgspec.convert(certificate.budget, Budget),
    )

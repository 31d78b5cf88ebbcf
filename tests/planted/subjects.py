"""The tiny models that faults are planted into: what they are, and the same built and open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler import bundle, pipeline, records
from compiler.checkpoint.arithmetic import Arithmetic
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.reference import Reference
from compiler.engines import Feeds, Session, open_bundle
from compiler.records import EngineOptions, Manifest
from compiler.runtime.adapters import Adapters
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
assert all(row in FAMILIES for row in SUBJECTS.values())


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
        folder: the bundle.
        adapters: each one's matrices, by name.
    """

    name: str
    folder: Path
    manifest: Manifest
    checkpoints: dict[str, Path]
    adapters: dict[str, Feeds]
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


def build(name: str, folder: Path) -> Subject:
    """Compile a subject in float32 under `folder`, its cache included."""
    row = SUBJECTS[name]
    saved, out = folder / name, folder / f"{name}-bundle"
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
                str(saved), task=row.task, profile=PROFILE, precision="float32", bench=False, out=out, adapters=given
            )
        manifest = bundle.verify(out)
        found = pipeline.checkpoint_of(manifest, None)
    finally:
        os.environ.pop("TRANSFORMER_COMPILER_CACHE")
        if before is not None:
            os.environ["TRANSFORMER_COMPILER_CACHE"] = before
    assert records.load(out / bundle.CERTIFICATE, records.Certificate).verdict == "pass"
    reader = Adapters(bundle.Files(out, manifest), manifest)
    return Subject(
        name=name,
        folder=out,
        manifest=manifest,
        checkpoints={"": found.folder, **{each.name: each.joined or each.folder for each in found.adapters}},
        adapters={each.name: reader._read(each) for each in manifest.adapters},
    )

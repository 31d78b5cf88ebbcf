"""Every TensorRT that is installed: a plan built for this GPU, its digest compared, opened, its tokens compared.

The model is built with the shipped profile for this GPU, and again with ONNX Runtime's TensorRT provider in the place
of that profile's engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from compiler import bundle, pipeline, profile
from compiler.engines import Session, engine, open_bundle, serving
from compiler.engines.plans.files import read_verified
from compiler.errors import BudgetError, CompilerError
from compiler.machine import detect
from compiler.records import Manifest, Serving
from gpu_trials.recipes import with_engine

PROMPT, NEW = 16, 24
ENGINES = ("tensorrt", "onnxruntime-tensorrt")


@dataclass(frozen=True)
class Tried:
    """One way: what it was, and what was found, for a line of docs/verified.md."""

    what: str
    result: str


def trials(checkpoint: Path, out: Path) -> Iterator[Tried]:
    """Try each engine in turn; what is missing is a result as well."""
    fitting = [name for name in profile.names() if _fits(name)]
    if not fitting:
        yield Tried("TensorRT", "no shipped profile for the engine tensorrt fits this GPU")
        return
    for name in ENGINES:
        what = f"engine {name}, profile {fitting[0]}"
        try:
            yield Tried(what, _trial(checkpoint, out / name, fitting[0], name))
        except CompilerError as error:
            yield Tried(what, f"not run: {' '.join(str(error).split())}")


def _fits(name: str) -> bool:
    shipped = profile.load(name)
    return shipped.engine == "tensorrt" and not profile.missing(shipped, detect())


def _trial(checkpoint: Path, folder: Path, shipped: str, name: str) -> str:
    engine(name)
    verdict = "pass"
    try:
        pipeline.build(
            str(checkpoint), profile=str(with_engine(shipped, name, folder)), out=folder / "bundle", bench=False
        )
    except BudgetError as error:
        verdict = f"fail ({error.found})"
    manifest = bundle.verify(folder / "bundle")
    for plan in manifest.plans:
        read_verified(plan, folder / "bundle")
    serves = serving(manifest, manifest.options)
    equal, count = agreement(folder / "bundle", manifest)
    return f"{outcome(serves, manifest)}; certificate {verdict}; {equal} of {count} tokens as on the CPU"


def outcome(serves: Serving, manifest: Manifest) -> str:
    """Whether a plan answers here, and which."""
    plans = ", ".join(f"{plan.target} of {plan.flavor} {plan.version}" for plan in manifest.plans) or "no plans"
    return f"{plans}, digests equal; {serves.engine} {serves.version} answers" + (
        f" ({serves.reason})" if serves.reason else ""
    )


def agreement(folder: Path, manifest: Manifest) -> tuple[int, int]:
    """Greedy tokens after one random prompt that ONNX Runtime on the CPU gives too, and how many there are."""
    options = msgspec.structs.replace(manifest.options, plans=None)
    with (
        closing(open_bundle(folder, manifest, manifest.options)) as here,
        closing(engine("onnxruntime-cpu").open(folder / manifest.model, options)) as there,
    ):
        ours, theirs = (_greedy(session, manifest) for session in (here, there))
    return int(np.count_nonzero(np.cumprod(ours == theirs))), NEW


def _greedy(session: Session, manifest: Manifest) -> np.ndarray:
    if manifest.cache is None:
        raise ValueError("this bundle does not generate")
    decoding = session.decode(manifest.cache, 1, PROMPT + NEW)
    ids = np.random.default_rng(0).integers(3, manifest.vocabulary, (1, PROMPT), dtype=np.int64)
    found = []
    for length in range(PROMPT, PROMPT + NEW):
        ids = decoding.step(ids, np.array([length])).argmax(axis=-1)[:, None]
        found.append(int(ids[0, 0]))
    return np.array(found)

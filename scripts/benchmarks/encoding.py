"""MiniLM int8: against PyTorch float32, OpenVINO and sentence-transformers, and what the runtime itself costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import peers, texts
from benchmarks.figure import Figure, Row, attempt, failures, measured, times_faster
from benchmarks.process import ProcessError, worker
from benchmarks.settings import Settings
from compiler.records import Manifest, load

SHAPES = {"1x32": 5.0, "8x128": 3.0}
OPENVINO_PRECISIONS = ("float32", "default", "int8")
RUNTIME = "runtime over a bare InferenceSession, MiniLM 1x32"
SENTENCES = "sentences of 3 to 250 tokens, against sentence-transformers"


def rows(bundle: Path, checkpoint: Path, portable: Path, scratch: Path, settings: Settings) -> Iterator[Row]:
    """Args: an encoder's bundle, its checkpoint folder, its portable ONNX model, and a folder for inputs."""
    yield from _latencies(bundle, checkpoint, portable, settings)
    yield from attempt([RUNTIME], lambda: [_runtime_cost(bundle, settings)])
    if peers.wanted(peers.SENTENCE_TRANSFORMERS):
        yield from attempt([SENTENCES], lambda: [_sentences(bundle, checkpoint, scratch, settings)])


def _against_torch(shape: str) -> str:
    return f"MiniLM int8 {shape}, against torch float32"


def _against_openvino(shape: str, precision: str) -> str:
    return f"MiniLM int8 {shape}, against OpenVINO {precision}"


def _latencies(bundle: Path, checkpoint: Path, portable: Path, settings: Settings) -> Iterator[Row]:
    """PyTorch and OpenVINO take turns with ours; where OpenVINO fails, the others go on without it."""
    asked: dict[str, Any] = {
        "shapes": [[int(side) for side in shape.split("x")] for shape in SHAPES],
        "seconds": settings.seconds,
    }
    ours: list[dict[str, list[float]]] = []
    torch: list[dict[str, list[float]]] = []
    openvino: list[dict[str, dict[str, list[float]]]] = []
    failed: ProcessError | None = None

    def turns() -> Iterator[Figure]:
        nonlocal failed
        for _ in range(settings.rounds):
            ours.append(worker("compiled_encoder", bundle=str(bundle), **asked)["latency_ms"])
            torch.append(worker("torch_encoder", model=str(checkpoint), **asked)["latency_ms"])
            if peers.wanted(peers.OPENVINO) and failed is None:
                try:
                    openvino.append(_openvino(portable, asked))
                except ProcessError as error:
                    failed = error
        for shape, target in SHAPES.items():
            own = [r[shape] for r in ours]
            yield times_faster(_against_torch(shape), own, [r[shape] for r in torch], "ms", target=target)

    yield from attempt([_against_torch(shape) for shape in SHAPES], turns)
    if failed is not None:
        yield from failures(
            [_against_openvino(shape, name) for shape in SHAPES for name in OPENVINO_PRECISIONS], failed
        )
        return
    for shape in SHAPES:
        own = [r[shape] for r in ours[: len(openvino)]]
        for precision in OPENVINO_PRECISIONS if openvino else ():
            peer = [r[precision][shape] for r in openvino]
            yield times_faster(_against_openvino(shape, precision), own, peer, "ms")


def _openvino(portable: Path, asked: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    python = peers.require(peers.OPENVINO)
    latency: dict[str, dict[str, list[float]]] = worker(
        "openvino_encoder", python=python, model=str(portable), **asked
    )["latency_ms"]
    return latency


def _runtime_cost(bundle: Path, settings: Settings) -> Figure:
    """More rounds than elsewhere: a few percent between processes is close to the machine's own noise."""
    model = bundle / load(bundle / "manifest.json", Manifest).model
    seconds = settings.seconds
    rounds = [
        (
            worker("compiled_encoder", bundle=str(bundle), shapes=[[1, 32]], seconds=seconds)["latency_ms"]["1x32"],
            worker("bare_session", model=str(model), shape=[1, 32], seconds=seconds)["latency_ms"],
        )
        for _ in range(2 * settings.rounds)
    ]
    medians = [(statistics.median(ours), statistics.median(bare)) for ours, bare in rounds]
    own, bare = (statistics.median(side) for side in zip(*medians, strict=True))
    return measured(
        RUNTIME,
        [(ours / bare - 1) * 100 for ours, bare in medians],
        "%",
        target=3,
        detail=f"{own:.4g} against {bare:.4g} ms",
        raw={"rounds": rounds},
    )


def _sentences(bundle: Path, checkpoint: Path, scratch: Path, settings: Settings) -> Figure:
    python = peers.require(peers.SENTENCE_TRANSFORMERS)
    out = scratch / "sentences.json"
    asked: dict[str, Any] = {
        "sentences": str(texts.write_sentences(checkpoint / "tokenizer.json", out, settings.sentences, 3, 250)),
        "runs": 1,
    }
    rounds = [
        (
            worker("compiled_embed", bundle=str(bundle), **asked)["seconds"],
            worker("sentence_transformers_embed", python=python, model=str(checkpoint), **asked)["seconds"],
        )
        for _ in range(min(3, settings.rounds))
    ]
    name = f"{settings.sentences:,} {SENTENCES}"
    return times_faster(name, [r[0] for r in rounds], [r[1] for r in rounds], "s", target=3)

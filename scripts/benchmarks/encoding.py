"""MiniLM int8: against PyTorch float32, OpenVINO and sentence-transformers, and what the runtime itself costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks import peers, texts
from benchmarks.figure import Figure, measured, times_faster
from benchmarks.process import worker
from compiler.records import Manifest, load

ROUNDS = 5
SHAPES = {"1x32": 5.0, "8x128": 3.0}
SECONDS = 3.0


def figures(bundle: Path, checkpoint: Path, portable: Path, scratch: Path) -> Iterator[Figure]:
    """Args: an encoder's bundle, its checkpoint folder, its portable ONNX model, and a folder for inputs."""
    yield from _against_torch(bundle, checkpoint, portable)
    yield _runtime_cost(bundle)
    if peers.SENTENCE_TRANSFORMERS.installed:
        yield _sentences(bundle, checkpoint, scratch)


def _against_torch(bundle: Path, checkpoint: Path, portable: Path) -> Iterator[Figure]:
    asked = {"shapes": [[int(side) for side in shape.split("x")] for shape in SHAPES], "seconds": SECONDS}
    ours, torch, openvino = [], [], []
    for _ in range(ROUNDS):
        ours.append(worker("compiled_encoder", bundle=str(bundle), **asked)["latency_ms"])
        torch.append(worker("torch_encoder", model=str(checkpoint), **asked)["latency_ms"])
        if peers.OPENVINO.installed:
            found = worker("openvino_encoder", python=peers.OPENVINO.python, model=str(portable), **asked)
            openvino.append(found["latency_ms"])
    for shape, target in SHAPES.items():
        own = [r[shape] for r in ours]
        yield times_faster(
            f"MiniLM int8 {shape}, against torch float32", own, [r[shape] for r in torch], "ms", target=target
        )
        for precision in openvino[0] if openvino else ():
            peer = [r[precision][shape] for r in openvino]
            yield times_faster(f"MiniLM int8 {shape}, against OpenVINO {precision}", own, peer, "ms")


def _runtime_cost(bundle: Path) -> Figure:
    """More rounds than elsewhere: a few percent between processes is close to the machine's own noise."""
    model = bundle / load(bundle / "manifest.json", Manifest).model
    rounds = [
        (
            worker("compiled_encoder", bundle=str(bundle), shapes=[[1, 32]], seconds=SECONDS)["latency_ms"]["1x32"],
            worker("bare_session", model=str(model), shape=[1, 32], seconds=SECONDS)["latency_ms"],
        )
        for _ in range(2 * ROUNDS)
    ]
    medians = [(statistics.median(ours), statistics.median(bare)) for ours, bare in rounds]
    own, bare = (statistics.median(side) for side in zip(*medians, strict=True))
    return measured(
        "runtime over a bare InferenceSession, MiniLM 1x32",
        [(ours / bare - 1) * 100 for ours, bare in medians],
        "%",
        target=3,
        detail=f"{own:.4g} against {bare:.4g} ms",
        raw={"rounds": rounds},
    )


def _sentences(bundle: Path, checkpoint: Path, scratch: Path) -> Figure:
    sentences = texts.write_sentences(checkpoint / "tokenizer.json", scratch / "sentences.json", 2000, 3, 250)
    rounds = [
        (
            worker("compiled_embed", bundle=str(bundle), sentences=str(sentences), runs=1)["seconds"],
            worker(
                "sentence_transformers_embed",
                python=peers.SENTENCE_TRANSFORMERS.python,
                model=str(checkpoint),
                sentences=str(sentences),
                runs=1,
            )["seconds"],
        )
        for _ in range(3)
    ]
    name = "2,000 sentences of 3 to 250 tokens, against sentence-transformers"
    return times_faster(name, [r[0] for r in rounds], [r[1] for r in rounds], "s", target=3)

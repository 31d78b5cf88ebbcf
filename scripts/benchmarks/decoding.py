"""SmolLM2 int4: speed against onnxruntime-genai int4 on the same weights, and perplexity against float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import peers, texts
from benchmarks.figure import Figure, Row, attempt, measured, times_faster
from benchmarks.process import worker
from benchmarks.settings import Settings

DECODE = "decode, int4, against onnxruntime-genai int4"
PREFILL = "prefill of 128 tokens, against the same"
PERPLEXITY = "perplexity over float32"


def rows(bundle: Path, checkpoint: Path, settings: Settings) -> Iterator[Row]:
    """Args: a decoder's bundle, and the folder of the same weights in safetensors."""
    if peers.wanted(peers.GENAI):
        yield from attempt([DECODE, PREFILL], lambda: _against_genai(bundle, checkpoint, settings))
    yield from attempt([PERPLEXITY], lambda: [_perplexity(bundle, checkpoint, settings)])


def _against_genai(bundle: Path, checkpoint: Path, settings: Settings) -> Iterator[Figure]:
    python = peers.require(peers.GENAI)
    theirs = peers.genai_int4(checkpoint)
    asked: dict[str, Any] = {"prompt": texts.prompt(checkpoint / "tokenizer.json", 128), "new_tokens": 64, "runs": 3}
    rounds = [
        (
            worker("compiled_decoder", bundle=str(bundle), **asked),
            worker("genai_decoder", python=python, model=str(theirs), **asked),
        )
        for _ in range(settings.rounds)
    ]
    for name, key, unit, target in ((DECODE, "tokens_per_second", "tokens/s", 1.3), (PREFILL, "prefill_ms", "ms", 2.0)):
        yield times_faster(name, [r[0][key] for r in rounds], [r[1][key] for r in rounds], unit, target=target)


def _perplexity(bundle: Path, checkpoint: Path, settings: Settings) -> Figure:
    windows = texts.windows(checkpoint / "tokenizer.json", settings.windows, 256)
    found = worker("perplexity", bundle=str(bundle), model=str(checkpoint), windows=windows)
    ours, reference = (math.exp(_mean([math.log(p) for p in found[side]])) for side in ("compiled", "reference"))
    return measured(
        PERPLEXITY,
        [(ours / reference - 1) * 100],
        "%",
        target=3,
        detail=f"{ours:.3f} against {reference:.3f}, {settings.windows} x 256 tokens not calibrated on",
        raw=found,
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)

"""SmolLM2 int4: speed against onnxruntime-genai int4 on the same weights, and perplexity against float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from benchmarks import peers, texts
from benchmarks.figure import Figure, measured, times_faster
from benchmarks.process import worker

ROUNDS = 5


def figures(bundle: Path, checkpoint: Path) -> Iterator[Figure]:
    """Args: a decoder's bundle, and the folder of the same weights in safetensors."""
    tokenizer = checkpoint / "tokenizer.json"
    if peers.GENAI.installed:
        theirs = peers.genai_int4(checkpoint)
        asked = {"prompt": texts.prompt(tokenizer, 128), "new_tokens": 64, "runs": 3}
        rounds = [
            (
                worker("compiled_decoder", bundle=str(bundle), **asked),
                worker("genai_decoder", python=peers.GENAI.python, model=str(theirs), **asked),
            )
            for _ in range(ROUNDS)
        ]
        for name, key, unit, target in (
            ("decode, int4, against onnxruntime-genai int4", "tokens_per_second", "tokens/s", 1.3),
            ("prefill of 128 tokens, against the same", "prefill_ms", "ms", 2.0),
        ):
            yield times_faster(name, [r[0][key] for r in rounds], [r[1][key] for r in rounds], unit, target=target)

    found = worker("perplexity", bundle=str(bundle), model=str(checkpoint), windows=texts.windows(tokenizer, 16, 256))
    ours, reference = (math.exp(_mean([math.log(p) for p in found[side]])) for side in ("compiled", "reference"))
    percent = (ours / reference - 1) * 100
    yield measured(
        "perplexity over float32",
        [percent],
        "%",
        target=3,
        detail=f"{ours:.3f} against {reference:.3f}, 16 x 256 tokens not calibrated on",
        raw=found,
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)

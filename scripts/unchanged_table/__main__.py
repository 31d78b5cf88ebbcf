"""`scripts/unchanged COMMIT [--only SUBJECT]`: what this code does otherwise than that of a commit."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from unchanged_table.observed import differences, digests, run
from unchanged_table.subjects import GENERAL, Subject, subjects, write

HERE = Path(__file__).parents[2]
console = Console(stderr=True, highlight=False)


def main(words: Sequence[str]) -> int:
    """Print every difference; 1 where there is one."""
    parser = argparse.ArgumentParser(prog="scripts/unchanged", description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--only", metavar="SUBJECT")
    chosen = parser.parse_args(words)
    found = 0
    with tempfile.TemporaryDirectory(prefix="unchanged-") as name:
        folder = Path(name)
        old = folder / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "-q", old, chosen.commit], cwd=HERE, check=True)
        try:
            for subject in (None, *subjects(folder)):
                title = subject.name if subject else "general"
                if chosen.only in (None, title):
                    console.print(title)
                    found += _compare(subject, (old, HERE), folder / "work" / title)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", old], cwd=HERE, check=True)
    print(f"{found} differences" if found else "no difference")
    return int(found > 0)


def _compare(subject: Subject | None, trees: tuple[Path, Path], folder: Path) -> int:
    before, after = (_observe(subject, tree, folder / side) for tree, side in zip(trees, ("a", "b"), strict=True))
    lines = list(differences(before, after))
    for line in lines:
        print(line, flush=True)
    return len(lines)


def _observe(subject: Subject | None, tree: Path, folder: Path) -> dict[str, Any]:
    (folder / "here").mkdir(parents=True)
    commands = subject.commands(write(subject.data, folder / "data.jsonl")) if subject else GENERAL
    title = subject.name if subject else "general"
    seen: dict[str, Any] = {}
    for name, words in commands:
        seen[f"{title}: {name}"] = run(tree, words, folder / "here", folder / "cache")
        console.print(f"  {folder.name} {name}: {seen[f'{title}: {name}']['code']}")
    seen[f"{title}: files"] = digests(folder / "here")
    return seen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`scripts/sentence_encoders [--only TEXT] [--json]`: is every checkpoint answered as sentence-transformers does?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import compiler
from compiler import pipeline
from compiler.errors import CheckpointError
from tests.sentence import QUERY, TEXTS

VERSIONS = ("3.4.1", "5.4.1", "6.2.0")  # who saves; the last one also opens all that were saved
INSTALLED = Path(os.environ.get("COMPILER_SENTENCE_TRANSFORMERS", "artifacts/sentence-transformers")).absolute()
LEAST, MOST = 0.99999, 1e-5  # cosine of vectors; error of scores


@dataclasses.dataclass
class Row:
    """One checkpoint: cosine of vectors (or 1 - error of scores) to what the two versions give, at least."""

    version: str
    variant: str
    ours: str = ""
    writer: float = 0.0
    reader: float = 0.0
    right: bool = False


def library(version: str, way: str, folder: Path) -> None:
    """Run `library` with one version of sentence-transformers, fetched from PyPI once."""
    place = INSTALLED / version
    if not place.exists():
        words = ["install", "-qq", "--no-deps", "--no-compile", "--target", str(place), "pillow"]
        subprocess.run([sys.executable, "-m", "pip", *words, f"sentence-transformers=={version}"], check=True)
    path = os.pathsep.join([str(place), *os.environ["PYTHONPATH"].split(os.pathsep)])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "sentence_table.library", way, str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def near(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return 0.0
    if ours.ndim == 1 or ours.shape[1] == 3:  # scores
        return 1 - float(np.abs(ours - theirs).max())
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(((ours * theirs).sum(axis=1) / lengths).min())


def answers(bundle: Path) -> np.ndarray:
    with compiler.load(bundle) as model:
        if model.manifest.task == "feature-extraction":
            return model.embed(TEXTS)
        if len(model.classify("a", None)) == 1:
            ranked = model.rerank(QUERY, TEXTS)
            return np.array([each["score"] for each in sorted(ranked, key=lambda each: each["index"])], np.float32)
        found = model.classify([(QUERY, text) for text in TEXTS], None, function="none")
        return np.array([[each["score"] for each in sorted(one, key=lambda e: e["label"])] for one in found])


def judge(folder: Path, version: str, name: str, scratch: Path) -> Row:
    row = Row(version, name)
    refusal = (folder / f"{name}.refused").exists()
    try:
        pipeline.build(str(folder / name), out=scratch, precision="float32", bench=False, allow_pickle=True)
    except CheckpointError as error:
        row.ours, row.right = f"refused: {error.args[0]}", refusal
        return row
    ours = answers(scratch)
    row.ours = "x".join(map(str, ours.shape))
    row.writer, row.reader = (near(ours, np.load(folder / f"{name}.{way}.npy")) for way in ("write", "read"))
    row.right = not refusal and row.reader >= (1 - MOST if name.startswith("CrossEncoder") else LEAST)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/sentence_encoders",
        description="Save sentence encoders and rankers with three versions of sentence-transformers, compile them, "
        "and compare. Ends with 1 when an answer is not that of the current version, or what must be refused is not.",
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="checkpoints whose version and name hold this text")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    options = parser.parse_args()
    progress = Console(stderr=True, soft_wrap=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TRANSFORMER_COMPILER_CACHE"] = str(Path(scratch) / "cache")
        for version in VERSIONS:
            folder = Path(scratch) / version
            folder.mkdir()
            library(version, "write", folder)
            library(VERSIONS[-1], "read", folder)
            names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "base")
            for name in names:
                if options.only in f"{version} {name}":
                    rows.append(judge(folder, version, name, Path(scratch) / "bundle"))
                    verdict = "right" if rows[-1].right else "[red]WRONG[/red]"
                    progress.print(f"{version} {name}: {verdict} {escape(str(rows[-1]))}", highlight=False)
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
    else:
        table = Table("saved by", "checkpoint", "ours", "to its writer", f"to {VERSIONS[-1]}", "")
        for row in rows:
            shown = [f"{value:.7f}" if value else "" for value in (row.writer, row.reader)]
            table.add_row(row.version, row.variant, escape(row.ours), *shown, "" if row.right else "WRONG")
        Console(width=160).print(table)
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

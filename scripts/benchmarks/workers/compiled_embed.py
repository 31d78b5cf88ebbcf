"""A compiled encoder through `compiler.load(...).embed`: a file of sentences."""

from __future__ import annotations

import json
import time
from pathlib import Path

from timing import answer, arguments

import compiler

asked = arguments()
sentences = json.loads(Path(asked["sentences"]).read_text())
model = compiler.load(asked["bundle"])
model.embed(sentences[:64])
seconds = []
for _ in range(asked["runs"]):
    started = time.perf_counter()
    vectors = model.embed(sentences, normalize=True)
    seconds.append(time.perf_counter() - started)
answer(seconds=seconds, rows=len(vectors))

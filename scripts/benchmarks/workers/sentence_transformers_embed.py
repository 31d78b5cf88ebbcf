"""sentence-transformers on torch: embed a file of sentences. Runs in the peer's own environment."""

from __future__ import annotations

import json
import time
from pathlib import Path

from sentence_transformers import SentenceTransformer
from timing import answer, arguments

asked = arguments()
sentences = json.loads(Path(asked["sentences"]).read_text())
model = SentenceTransformer(asked["model"], device="cpu")
model.encode(sentences[:64])
seconds = []
for _ in range(asked["runs"]):
    started = time.perf_counter()
    vectors = model.encode(sentences, normalize_embeddings=True)
    seconds.append(time.perf_counter() - started)
answer(seconds=seconds, rows=len(vectors))

"""Small labelled data for every task of the tiny encoders in `tests.understanding`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.understanding import WORDS

ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC")


def rows(task: str, count: int = 12, seed: int = 3) -> list[dict[str, Any]]:
    """Rows with the usual column names."""
    generator = random.Random(seed)

    def words(least: int = 4, most: int = 9) -> list[str]:
        return [generator.choice(WORDS) for _ in range(generator.randint(least, most))]

    def text() -> str:
        return " ".join(words())

    def row() -> dict[str, Any]:
        match task:
            case "feature-extraction":
                return {"sentence1": text(), "sentence2": text(), "score": generator.random()}
            case "fill-mask":
                return {"text": f"{text()} [MASK] {text()}", "label": generator.choice(WORDS)}
            case "text-classification":
                return {"sentence": text(), "label": generator.choice(("calm", "stormy", "unknown"))}
            case "token-classification":
                tokens = words()
                return {"tokens": tokens, "ner_tags": [generator.choice(ENTITIES) for _ in tokens]}
            case "question-answering":
                tokens = words(8, 14)
                return {"question": text(), "context": " ".join(tokens), "answers": {"text": [" ".join(tokens[2:4])]}}
            case "multiple-choice":
                return {"prompt": text(), "choices": [text(), text(), text()], "label": generator.randrange(3)}
            case "next-sentence-prediction":
                return {"text": text(), "pair": text(), "is_next": generator.choice((True, False))}
            case "replaced-token-detection":
                tokens = words()
                return {"words": tokens, "replaced": [generator.randrange(2) for _ in tokens]}
            case _:
                return {"text": text(), "reference": text()}

    return [row() for _ in range(count)]


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    """Save rows as .jsonl."""
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path

"""Answers that are texts: they part at a token, and which one comes there is what the two models disagree about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from compiler.compare.asked import Asked, Item, Question, Scores
from compiler.runtime.batching import batches
from compiler.runtime.decoding import padded
from compiler.runtime.scores import softmax
from compiler.runtime.starts import starts_of

NEW_TOKENS = 64  # of each answer
BATCH_TOKENS = 2048  # rows times tokens of one call


def parted(baseline: Asked, candidate: Asked, items: Sequence[Item]) -> Iterator[Question]:
    """A question for each item whose answers differ: which token comes where they part, after what both wrote.

    Its `about` has the tokens `so_far`, those `among` which to choose, and the whole texts `written` by each answer.
    """
    prompts = [item["text"] for item in items]
    sides = [each.model.generate(prompts, details=True, max_new_tokens=NEW_TOKENS) for each in (baseline, candidate)]
    for index, (first, second) in enumerate(zip(*sides, strict=True)):
        pairs = enumerate(zip(first.tokens, second.tokens, strict=False))
        place = next((place for place, (one, other) in pairs if one != other), None)
        if place is None:
            continue
        among = (first.tokens[place], second.tokens[place])
        names = (_name(among[0]), _name(among[1]))
        about = {
            **items[index],
            "so_far": list(first.tokens[:place]),
            "among": among,
            "written": dict(zip(names, (first.text, second.text), strict=True)),
        }
        yield Question(index, about, place, names)


def continued(asked: Asked, items: Sequence[Item]) -> list[Scores]:
    """The probabilities of the tokens among which to choose, after the prompt and the tokens so far."""
    starts = starts_of(asked.model.manifest, asked.text)
    begun = []
    for item in items:
        start = starts.read(item["text"])
        begun.append(start._replace(prompt=[*start.prompt, *item["so_far"]]))
    found: list[Scores] = [{} for _ in items]
    for rows in batches([start.size for start in begun], BATCH_TOKENS):
        chosen = [begun[row] for row in rows]
        lengths = np.array([len(start.prompt) for start in chosen], np.int64)
        decoding = starts.open(asked.session, chosen, int(lengths.max()) + 1)
        logits = decoding.step(padded([start.prompt for start in chosen], asked.text.pad), lengths)
        for row, chances in zip(rows, softmax(logits), strict=True):
            found[row] = {_name(token): float(chances[token]) for token in items[row]["among"]}
    return found


def _name(token: int) -> str:
    """An answer without its words."""
    return f"token {token}"

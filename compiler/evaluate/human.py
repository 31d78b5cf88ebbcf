"""One offline page on which people compare the answers of two bundles, without knowing which is which."""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import msgspec

from compiler.bundle import Files
from compiler.errors import UsageError
from compiler.evaluate import data
from compiler.evaluate.columns import bind
from compiler.evaluate.labels import answers_of
from compiler.evaluate.metrics import GENERATING
from compiler.evaluate.ratings import CRITERIA, Key, seal
from compiler.evaluate.systems import Contestant, bundle_at
from compiler.progress import Report, unreported
from compiler.runtime.starts import starts_of
from compiler.runtime.text import Text
from compiler.storage import write_result

TEMPLATE = "human.html"
PART = 8  # prompts between two reports of progress


def write_page(
    bundles: tuple[Path, Path],
    prompts: Path,
    out: Path,
    *,
    max_new_tokens: int = 64,
    seed: int = 0,
    progress: Report = unreported,
) -> int:
    """Let both bundles answer the prompts, and write the page.

    Args:
        bundles: A and B.
        prompts: a text file with a prompt a line, or rows with a column for it (see `data.read`).
        seed: of the order of the pairs, and of the sides.

    Returns:
        how many pairs there are.

    Raises:
        UsageError: a bundle does not generate text.
        InputError: the prompts do not fit.
    """
    contestants = [bundle_at(folder, name) for folder, name in zip(bundles, "AB", strict=True)]
    for each in contestants:
        if each.manifest.task not in GENERATING:
            raise UsageError(
                f"{each.folder}: does not generate text", found=each.manifest.task, expected=" or ".join(GENERATING)
            )
    asked = _prompts(prompts, contestants[0])
    for each in contestants:
        starts = starts_of(each.manifest, Text(Files(each.folder, each.manifest), each.manifest))
        for prompt in asked:
            starts.read(prompt)
    answers = [_answers(each, asked, max_new_tokens, progress) for each in contestants]
    made = page(asked, answers[0], answers[1], (str(bundles[0]), str(bundles[1])), seed)
    write_result(out, made.encode())
    return len(asked)


def page(prompts: Sequence[str], a: Sequence[str], b: Sequence[str], names: tuple[str, str], seed: int) -> str:
    """The page as text: pairs in random order, A on a random side."""
    generator = random.Random(seed)
    order = generator.sample(range(len(prompts)), len(prompts))
    left = tuple(generator.random() < 0.5 for _ in order)
    pairs = [
        {"prompt": prompts[row], "left": a[row] if a_is_left else b[row], "right": b[row] if a_is_left else a[row]}
        for row, a_is_left in zip(order, left, strict=True)
    ]
    sealed = seal(Key(a=names[0], b=names[1], a_is_left=left))
    content = {"page": data.digest([*pairs, sealed]), "sealed": sealed, "criteria": CRITERIA, "pairs": pairs}
    # In a script, only "<" could end what is data.
    embedded = msgspec.json.encode(content).decode().replace("<", "\\u003c")
    template = files("compiler.evaluate").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return template.replace("{{ content }}", embedded)


def _prompts(path: Path, made: Contestant) -> list[str]:
    if path.suffix in {*data.LINES, ".csv", ".tsv"} or path.is_dir():
        answers = answers_of(made.folder, made.manifest)
        items = bind(made.manifest.task, dict(enumerate(data.read(path))), {}, ["text"], answers)
        return [str(item["text"]) for item in items]
    return data.text_lines(path)


def _answers(made: Contestant, prompts: Sequence[str], max_new_tokens: int, progress: Report) -> list[str]:
    found: list[str] = []
    with made.open() as (model, _):
        for start in range(0, len(prompts), PART):
            progress(made.name, start, len(prompts))
            found += model.generate(list(prompts[start : start + PART]), max_new_tokens=max_new_tokens)
    return found

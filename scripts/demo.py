"""Use two compiled bundles: stream an answer, rank sentences by similarity, show the verdicts."""

from __future__ import annotations

import sys
from pathlib import Path

import compiler
from compiler.cli.summary import summary

QUESTION = "Name three things that a compiler does, in one sentence each."
QUERY = "How do I get my money back?"
SENTENCES = (
    "Refunds are paid within five days.",
    "Our office is closed on public holidays.",
    "You can return an article that you do not like.",
    "The parcel was handed to the carrier this morning.",
)


def answer(bundle: Path) -> None:
    print(f"\n> {QUESTION}")
    with compiler.load(bundle) as model:
        messages = [{"role": "user", "content": QUESTION}]
        for piece in model.generate(messages, max_new_tokens=96, stream=True):
            print(piece, end="", flush=True)
    print()


def rank(bundle: Path) -> None:
    print(f"\n> {QUERY}")
    with compiler.load(bundle) as model:
        query, *sentences = model.embed([QUERY, *SENTENCES], normalize=True)
    scores = [(float(query @ sentence), text) for sentence, text in zip(sentences, SENTENCES, strict=True)]
    for score, text in sorted(scores, reverse=True):
        print(f"{score:6.3f}  {text}")


def verdict(bundle: Path) -> None:
    result = summary(bundle)
    reasons = f" ({', '.join(result['reasons'])})" if result["reasons"] else ""
    speed = ", ".join(f"{name} {ratio['value']:.1f} times" for name, ratio in result["speedup"].items())
    print(f"\n{bundle}: {result['verdict']}{reasons}, {result['precision']}; against PyTorch: {speed}")


def main() -> None:
    decoder, encoder = (Path(argument) for argument in sys.argv[1:])
    answer(decoder)
    rank(encoder)
    verdict(decoder)
    verdict(encoder)


main()

"""What is the same for all systems of one evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from compiler.evaluate.agreement import BINS
from compiler.evaluate.labels import Answers
from compiler.evaluate.probes import Canary, Secret


class Reading(NamedTuple):
    """How a language model reads texts to score them: tokens of a window, and how far the next one lies."""

    window: int
    stride: int


@dataclass(frozen=True)
class Settings:
    """How systems are asked.

    Attributes:
        answers: what the model can answer.
        reading: of a text-generation model.
        max_new_tokens: of a generation.
        bins: of the calibration error.
        seed: of everything random.
        batched: prompts of unequal length may be generated together, which PyTorch's side cannot do.
    """

    answers: Answers
    reading: Reading
    max_new_tokens: int = 64
    bins: int = BINS
    seed: int = 0
    batched: bool = True
    secrets: tuple[Secret, ...] = ()
    canaries: tuple[Canary, ...] = ()

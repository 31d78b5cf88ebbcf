"""What a run of `scripts/gpu_check` is about: the device, the sizes, and the models of those sizes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "GPU_TRIALS"  # environment variable: how a worker knows


@dataclass(frozen=True)
class Sizes:
    """`encode` are batch and tokens; a decoder reads `prompt` tokens a row and then answers `new`."""

    encode: tuple[tuple[int, int], ...]
    decode: tuple[int, ...]
    prompt: int
    new: int
    rounds: int
    calls: int


FULL = Sizes(encode=((1, 128), (32, 384)), decode=(1, 16), prompt=128, new=64, rounds=5, calls=30)
TINY = Sizes(encode=((1, 8), (2, 16)), decode=(1, 2), prompt=8, new=4, rounds=2, calls=3)


@dataclass(frozen=True)
class Asked:
    """`device` is "cuda" or "cpu"; `tiny` are models and sizes that only exercise the code."""

    device: str = "cuda"
    tiny: bool = False

    @property
    def sizes(self) -> Sizes:
        return TINY if self.tiny else FULL


def hand_over(asked: Asked, runner: str) -> None:
    """Say to the process that is started next what it is to be."""
    os.environ[VARIABLE] = json.dumps({"runner": runner, **asdict(asked)})


def handed_over() -> tuple[Asked, str]:
    """What this process was told: what is asked, and its runner."""
    told = json.loads(os.environ[VARIABLE])
    return Asked(device=told["device"], tiny=told["tiny"]), told["runner"]

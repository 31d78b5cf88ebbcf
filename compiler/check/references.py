"""What a comparison asks of the reference. `checkpoint.reference.Reference` is one; tests have others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np

from compiler.check.noise import Noise
from compiler.checkpoint.arithmetic import Arithmetic
from compiler.records import Finding

Feeds = dict[str, np.ndarray]


class ReferenceModel(Protocol):
    """See `checkpoint.reference.Reference` for shapes.

    Encoders need `run` (and `vectors`, if that is what they are for), decoders `logits` and `generate`,
    encoder-decoders `answers`, `generate` and `start_token`; `layers` and `watching` are for finding where answers part
    (`bisect`).
    """

    @property
    def start_token(self) -> int: ...

    def answers(self, feeds: Feeds, decoder_input_ids: np.ndarray) -> np.ndarray: ...

    def run(self, feeds: Feeds) -> Feeds: ...

    def vectors(self, outputs: Feeds, feeds: Feeds) -> np.ndarray: ...

    def logits(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        position_ids: np.ndarray,
        keep: np.ndarray | None = None,
    ) -> np.ndarray: ...

    def generate(self, input_ids: np.ndarray, attention_mask: np.ndarray, max_new_tokens: int) -> np.ndarray: ...

    def layers(self, inside: str | None = None) -> list[str]: ...

    def watching(
        self, modules: Sequence[str], sink: Callable[[str, np.ndarray], None]
    ) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...


# Opens the reference in a precision. One is open at a time, so that two copies of the weights never share the memory.
OpenReference = Callable[[Arithmetic], ReferenceModel]


class Compared(NamedTuple):
    """What a comparison gives: its findings, the reference's noise, and the tokens of the longest text."""

    findings: list[Finding]
    noise: Noise
    context: int

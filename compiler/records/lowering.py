"""What decides a lowered model, and how far its answers may go: passes, a target's facts, a budget."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from compiler.records.base import Record
from compiler.records.model import Kind

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Capability = Annotated[str, msgspec.Meta(pattern=r"^(\d+\.\d)?$")]


class PassChoice(Record, frozen=True):
    """A pass and its options. In TOML a plain name, or a table: `{ name = "quantize-weights", bits = 4 }`."""

    name: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)


SAME = 0.9995  # cosine of two answers that are to be one
CACHED = 0.99  # the same where other kernels, which round differently, made one of them: int4 was seen at 0.9989


class Budget(Record, frozen=True):
    """How far answers may leave PyTorch float32. A key that is not set, nor has a default, is shown, but not judged.

    Attributes:
        noise_factor: float32 only: largest difference, in multiples of the reference's own rounding noise.
        rounding_factor: narrower precisions only: root mean square error, in multiples of the error that the reference
            has where its products are rounded to as many bits.
        max_perplexity_ratio: perplexity over the reference's.
        max_kl_divergence: mean KL divergence of the output distributions, in nats.
        min_top1_agreement: share of positions with the same most likely answer.
        min_greedy_agreement: share of greedily generated tokens equal to the reference's, each continued from its text.
        min_cosine: smallest cosine similarity between a text's vector and the reference's.
        min_padding_cosine: the same between a text's vector in a batch, padded as the runtime pads, and alone, both of
            the engine.
        min_company_cosine: the same beside other texts and alone.
        min_cache_cosine: the same, around the mean, between a generation's logits through the cache (token by token, in
            a batch, as beams, as a conversation) and in one call, the worst token.
    """

    noise_factor: Annotated[float, msgspec.Meta(ge=1)] | None = None
    rounding_factor: Annotated[float, msgspec.Meta(ge=1)] | None = None
    max_perplexity_ratio: Annotated[float, msgspec.Meta(ge=1)] | None = None
    max_kl_divergence: Annotated[float, msgspec.Meta(ge=0)] | None = None
    min_top1_agreement: Share | None = None
    min_greedy_agreement: Share | None = None
    min_cosine: Share | None = None
    min_padding_cosine: Share | None = SAME
    min_company_cosine: Share | None = SAME
    min_cache_cosine: Share | None = CACHED


class Requires(Record, frozen=True):
    """What the machine must have.

    Attributes:
        architecture: of the CPU.
        features: of the CPU, in Linux's words.
        compute_capability: of an NVIDIA GPU, exactly, as in "8.9".
        min_compute_capability: the least that will do.
    """

    architecture: str
    features: tuple[str, ...] = ()
    compute_capability: Capability = ""
    min_compute_capability: Capability = ""

    @property
    def gpu(self) -> bool:
        """Whether an NVIDIA GPU is among it."""
        return bool(self.compute_capability or self.min_compute_capability)


class Lowering(Record, frozen=True):
    """What makes a lowered model of a portable one of this `kind`: passes in order, for machines that have `requires`.

    `profile` and `precision` are what it is called.
    """

    profile: str
    kind: Kind
    precision: str
    passes: tuple[PassChoice, ...]
    requires: Requires

"""Where every limit comes from: the reference's own noise for float32, the accuracy budget for everything narrower.

Noise is how much PyTorch's own answers move when nothing that matters changes: float32 instead of float64, a text in
a padded batch instead of alone, the batch in another order. An engine that computes in float32 adds up the same
numbers in yet another order, so its distance from the reference is a small multiple of that noise; a wrong constant, a
lost mask or a swapped head is orders of magnitude away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from compiler.profile import Budget
from compiler.records import Finding

# How many times its own noise a float32 engine may be away. Noise is sampled on fewer inputs than are compared, and
# the maximum of more samples is larger; engines of float32 were seen at 1 to 4 times.
NOISE_FACTOR = 10.0

Better = Literal["lower", "higher"]

# Unit and good side of what each field of the budget limits.
BUDGETED: dict[str, tuple[str, Better]] = {
    "max_perplexity_ratio": ("ratio", "lower"),
    "max_kl_divergence": ("nats", "lower"),
    "min_top1_agreement": ("share", "higher"),
    "min_greedy_agreement": ("share", "higher"),
    "min_cosine": ("cosine", "higher"),
}


@dataclass(frozen=True)
class Limits:
    """Turns measured values into findings with the limit that holds for this precision.

    Attributes:
        precision: "float32", or the name of a quantized precision.
        budget: the profile's, with what the user changed.
        noise: the reference's own, as the largest absolute difference of an output.
    """

    precision: str
    budget: Budget
    noise: float

    @property
    def error(self) -> float:
        """The largest absolute error that is noise."""
        return self.factor * self.noise

    @property
    def factor(self) -> float:
        return NOISE_FACTOR if self.budget.noise_factor is None else self.budget.noise_factor

    def by_noise(self, name: str, value: float, samples: int, unit: str = "absolute") -> Finding:
        """An absolute error: judged for float32, shown for quantized precisions."""
        judged = self.precision == "float32"
        return Finding(
            name=name,
            value=value,
            unit=unit,
            samples=samples,
            better="lower",
            limit=self.error if judged else None,
            basis=f"{self.factor:g} times the reference's own noise of {self.noise:.2e}" if judged else "",
        )

    def by_budget(self, name: str, value: float, samples: int, field: str) -> Finding:
        """An accuracy: judged where the budget's `field` sets a limit, otherwise shown."""
        limit: float | None = getattr(self.budget, field)
        unit, better = BUDGETED[field]
        basis = "" if limit is None else f"budget {field}"
        return Finding(name=name, value=value, unit=unit, samples=samples, better=better, limit=limit, basis=basis)

    def by_distance(self, name: str, value: float, samples: int, field: str) -> Finding:
        """A relative error: judged by how far apart two unit vectors are whose cosine is the budget's `field`."""
        cosine: float | None = getattr(self.budget, field)
        limit = None if cosine is None else (2 * (1 - cosine)) ** 0.5
        basis = "" if limit is None else f"the distance of unit vectors at budget {field}"
        return Finding(name=name, value=value, unit="ratio", samples=samples, better="lower", limit=limit, basis=basis)


def shown(name: str, value: float, samples: int, unit: str, *, better: Better = "lower") -> Finding:
    """A value without a limit."""
    return Finding(name=name, value=value, unit=unit, samples=samples, better=better)


def floor(scale: float) -> float:
    """The least noise a float32 result of this size can have: one rounding."""
    return float(np.finfo(np.float32).eps) * scale

"""Where every limit comes from: the reference's own noise for float32, the accuracy budget for everything narrower.

Noise is how far PyTorch's float32 answers are from its float64 ones on the same feed (`noise`). An engine that computes
in float32 adds up the same numbers in another order, so its distance from the reference is a small multiple of that;
a wrong constant, a lost mask or a swapped head is orders of magnitude away.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from compiler.check.noise import Noise
from compiler.figures import beside
from compiler.records import Budget, Finding, NoiseSource
from compiler.records.findings import finding
from compiler.statistics import interval

# How many times its own noise a float32 engine may be away. Noise is sampled on fewer inputs than are compared, and
# the maximum of more samples is larger; engines of float32 were seen at 1 to 4 times.
NOISE_FACTOR = 10.0

# No error above this share of the answers' standard deviation is rounding, however noisy the reference is. A scale
# that is off by 1 % errs by that share at a number one deviation away, so such a fault never passes as noise.
CEILING = 0.01

# How many times as large as that of plain rounding the root mean square error of an engine in few bits may be.
# Right ones were seen at 0.3 to 1.4.
ROUNDING_FACTOR = 2.0

LOGITS = "logits"  # the unit of what decoders give

SOURCES: dict[NoiseSource, str] = {
    "float64": "",
    "reorderings": " between float32 sums in different orders, since PyTorch gives no float64 answers",
}


@dataclass(frozen=True)
class Limits:
    """Turns measured values into findings with the limit that holds for this precision.

    Attributes:
        precision: "float32", or the name of a quantized precision.
        budget: the profile's, with what the user changed.
        noise: the reference's own.
        unit: of the numbers that the model gives: "logits", or "absolute".
    """

    precision: str
    budget: Budget
    noise: Noise
    unit: str = "absolute"

    @property
    def error(self) -> float:
        """The largest absolute error that is noise."""
        return min(self.factor * self.noise.error, self.ceiling)

    @property
    def ceiling(self) -> float:
        """The largest absolute error that can be noise at all."""
        return max(CEILING * self.noise.spread, self.factor * self.noise.rounding)

    @property
    def factor(self) -> float:
        return NOISE_FACTOR if self.budget.noise_factor is None else self.budget.noise_factor

    @property
    def basis(self) -> str:
        """Where `error` comes from."""
        said = f"{self.factor:g} times the reference's own noise of {self.noise.error:.2e}{SOURCES[self.noise.source]}"
        if self.error < self.factor * self.noise.error:
            return f"{CEILING:.0%} of the spread of the reference's answers, which is less than {said}"
        return said

    def by_noise(self, name: str, value: float, samples: int) -> Finding:
        """An absolute error: judged for float32, shown for quantized precisions."""
        if self.precision != "float32":
            return finding(name, value, samples, unit=self.unit)
        return finding(name, value, samples, limit=self.error, basis=self.basis, unit=self.unit)

    def by_budget(self, name: str, value: float, samples: int, field: str) -> Finding:
        """An accuracy: judged where the budget's `field` sets a limit, otherwise shown."""
        limit: float | None = getattr(self.budget, field)
        return finding(name, value, samples, limit=limit, basis="" if limit is None else f"budget {field}")

    def by_share(self, name: str, agree: np.ndarray, field: str) -> Finding:
        """A share of answers that agree, (samples,) bool: judged by its interval, which more samples make narrower.

        A limit of 1 asks for each of the answers, not for a share of all that could be asked.
        """
        found = self.by_budget(name, float(agree.mean()), agree.size, field)
        if found.limit is None or found.limit >= 1:
            return found
        low, high = interval(int(agree.sum()), agree.size)
        ends = " to ".join(beside(end, found.limit)[0] for end in (low, high))
        return msgspec.structs.replace(found, low=low, high=high, basis=f"{found.basis}, by the 95 % interval {ends}")

    def by_rounding(self, name: str, value: float, samples: int, spare: float = 1.0) -> Finding:
        """An error in multiples of what rounding makes; `spare` times as many are allowed where chance has a say."""
        factor = ROUNDING_FACTOR if self.budget.rounding_factor is None else self.budget.rounding_factor
        basis = "the reference's own error where its products are rounded to as many bits"
        return finding(name, value, samples, limit=spare * factor, basis=basis)

    def by_distance(self, name: str, value: float, samples: int, field: str) -> Finding:
        """A relative error: judged by how far apart two unit vectors are whose cosine is the budget's `field`."""
        cosine: float | None = getattr(self.budget, field)
        limit = None if cosine is None else (2 * (1 - cosine)) ** 0.5
        basis = "" if limit is None else f"the distance of unit vectors at budget {field}"
        return finding(name, value, samples, limit=limit, basis=basis)


def floor(scale: float) -> float:
    """The least noise a float32 result of this size can have: one rounding."""
    return float(np.finfo(np.float32).eps) * scale

"""What each cut keeps, beside transformers' own on the same scores."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.runtime import cutoffs
from compiler.runtime.sampling import Sampler, Sampling

CASES = [
    *(("TopHLogitsWarper", cutoffs.by_entropy, value) for value in (0.1, 0.4, 0.9)),  # at 1 rounding decides
    *(("TypicalLogitsWarper", cutoffs.typical, value) for value in (0.05, 0.5, 0.95)),
    *(("EpsilonLogitsWarper", cutoffs.above_epsilon, value) for value in (3e-4, 0.02, 0.9)),
    *(("EtaLogitsWarper", cutoffs.above_eta, value) for value in (3e-4, 0.02, 0.9)),
]


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(("theirs", "ours", "value"), CASES, ids=lambda part: getattr(part, "__name__", str(part)))
def test_the_same_tokens_are_kept(theirs: str, ours: object, value: float, spread: float) -> None:
    import torch
    from transformers.generation import logits_process

    random = np.random.default_rng(0)
    for _ in range(5):
        scores = random.normal(0, spread, 300).astype(np.float32)
        scores[random.integers(0, 300, 9)] = -np.inf
        expected = getattr(logits_process, theirs)(value)(None, torch.from_numpy(scores[None].copy()))[0]
        kept = ours(np.exp(scores.astype(np.float64) - scores.max()), value)  # type: ignore[operator]
        kept &= np.isfinite(scores)
        np.testing.assert_array_equal(kept, np.isfinite(expected.numpy()))


@pytest.mark.parametrize(
    "cut", [{"top_h": 0.3}, {"typical_p": 0.3}, {"epsilon_cutoff": 0.1}, {"eta_cutoff": 0.3}, {"top_h": 1, "top_k": 3}]
)
def test_only_what_is_kept_is_drawn(cut: dict[str, float]) -> None:
    import torch
    from transformers.generation import logits_process as p

    scores = np.random.default_rng(1).normal(0, 1.5, 40).astype(np.float32)
    expected = torch.from_numpy(scores[None] / np.float32(1.5))
    warpers = {
        "top_h": p.TopHLogitsWarper,
        "top_k": p.TopKLogitsWarper,
        "typical_p": p.TypicalLogitsWarper,
        "epsilon_cutoff": p.EpsilonLogitsWarper,
        "eta_cutoff": p.EtaLogitsWarper,
    }
    for name, value in cut.items():
        expected = warpers[name](value)(None, expected)
    sampler = Sampler(Sampling(temperature=1.5, seed=3, **cut), 0)  # type: ignore[arg-type]
    drawn = {sampler(scores) for _ in range(3000)}
    assert drawn == set(np.flatnonzero(np.isfinite(expected[0].numpy())).tolist())

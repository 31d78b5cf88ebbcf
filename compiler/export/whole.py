"""Norms and rotary embeddings kept whole while tracing.

Modeling code spells RMSNorm and rotary embedding out, each family in its own way. Within `whole_operators(model)` those
whose formula is the standard one show up as one standard node. Which ones are is not read from their names: each is
run on random numbers beside the standard formula and replaced only where the two agree; everything else is traced as
it is written. The relative shift of Transformer-XL's attention, whose reshapes no tracer can follow for every length,
becomes a gather in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from compiler.export.attention import OPSET

SHIFT = "rel_shift_bnij"

Rotary = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@contextmanager
def whole_operators(model: torch.nn.Module) -> Iterator[None]:
    """Within the block, calls of the model's RMSNorms and rotary embeddings emit one ONNX node each."""
    restore: list[Callable[[], None]] = []
    try:
        for module in model.modules():
            if type(module).__name__.endswith("Norm") and (formula := _rms_norm(module)):
                module.forward = _emit_rms_norm(module, *formula)
                restore.append(lambda module=module: delattr(module, "forward"))  # type: ignore[misc]
        for owner in {type(module) for module in model.modules() if hasattr(module, SHIFT)}:
            if _is_relative_shift(getattr(owner, SHIFT)):
                restore.append(partial(setattr, owner, SHIFT, vars(owner)[SHIFT]))
                setattr(owner, SHIFT, staticmethod(_relative_shift))
        for namespace in {sys.modules[type(module).__module__] for module in model.modules()}:
            original = getattr(namespace, "apply_rotary_pos_emb", None)
            if original is not None and _is_standard_rotary(original):
                namespace.apply_rotary_pos_emb = _emit_rotary  # type: ignore[attr-defined]
                restore.append(
                    lambda namespace=namespace, original=original: setattr(  # type: ignore[misc]
                        namespace, "apply_rotary_pos_emb", original
                    )
                )
        yield
    finally:
        for undo in reversed(restore):
            undo()


def _rms_norm(module: torch.nn.Module) -> tuple[float, float] | None:
    """Offset and epsilon when the module computes x / rms(x) * (offset + weight), with offset 0 or 1."""
    weight = getattr(module, "weight", None)
    epsilon = next((getattr(module, name) for name in ("variance_epsilon", "eps") if hasattr(module, name)), None)
    if not isinstance(weight, torch.Tensor) or weight.dim() != 1 or not isinstance(epsilon, float):
        return None
    sample = torch.randn(2, 3, weight.shape[0], generator=torch.Generator().manual_seed(0), dtype=weight.dtype)
    with torch.no_grad():
        try:
            found = module(sample)
        except Exception:  # noqa: BLE001 - it takes other numbers (SqueezeBERT's channels come first)
            return None
        if not isinstance(found, torch.Tensor) or found.shape != sample.shape:
            return None  # I-BERT's gives a scale as well
        normal = sample * torch.rsqrt(sample.pow(2).mean(-1, keepdim=True) + epsilon)
        for offset in (0.0, 1.0):
            if torch.allclose(found, normal * (offset + weight), rtol=1e-5, atol=1e-5):
                return offset, epsilon
    return None


def _emit_rms_norm(module: torch.nn.Module, offset: float, epsilon: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        weight: Any = module.weight
        return torch.onnx.ops.symbolic(
            "RMSNormalization",
            [hidden_states, offset + weight if offset else weight],
            {"axis": -1, "epsilon": epsilon, "stash_type": 1},
            dtype=hidden_states.dtype,
            shape=hidden_states.shape,
            version=OPSET,
        )

    return forward


def _is_standard_rotary(function: Rotary) -> bool:
    """Whether it rotates the two halves of q and k (batch, heads, sequence, dim) by cos, sin (batch, sequence, dim).

    Given narrower cos and sin it has to leave the rest of each head as it is, or refuse them.
    """
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, heads, 3, 8, generator=generator) for heads in (4, 2))
    angles = torch.randn(2, 3, 4, generator=generator)

    def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        rotated, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
        first, second = rotated.chunk(2, dim=-1)
        turned = torch.cat((-second, first), dim=-1)
        return torch.cat((rotated * cos[:, None] + turned * sin[:, None], rest), dim=-1)

    def agrees(angles: torch.Tensor) -> bool | None:
        """None where the function refuses."""
        both = torch.cat((angles, angles), dim=-1)
        cos, sin = both.cos(), both.sin()
        try:
            found = function(query, key, cos, sin)
        except (TypeError, RuntimeError, ValueError, IndexError):
            return None
        return len(found) == 2 and all(
            a.shape == b.shape and torch.allclose(a, b, atol=1e-5)
            for a, b in zip(found, (rotate(query, cos, sin), rotate(key, cos, sin)), strict=True)
        )

    return agrees(angles) is True and agrees(angles[..., :2]) is not False


def _emit_rotary(
    query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    width = cos.shape[-1]
    # One table for all rows is spelled out: the operator does not broadcast it.
    cos, sin = (table[..., : width // 2].expand(query.shape[0], -1, -1) for table in (cos, sin))
    part: dict[str, Any] = {"rotary_embedding_dim": width} if width < query.shape[-1] else {}
    rotated = (
        torch.onnx.ops.symbolic("RotaryEmbedding", [x, cos, sin], part, dtype=x.dtype, shape=x.shape, version=OPSET)
        for x in (query, key)
    )
    return next(rotated), next(rotated)


def _relative_shift(x: torch.Tensor, klen: int = -1) -> torch.Tensor:
    """Scores by distance, (batch, heads, i, distances), to scores by column (batch, heads, i, klen)."""
    rows, columns = x.shape[2], torch.arange(klen, device=x.device)
    index = columns[None, :] + rows - torch.arange(rows, device=x.device)[:, None]
    return torch.gather(x, 3, index.expand(x.shape[0], x.shape[1], -1, -1))


def _is_relative_shift(function: Callable[..., torch.Tensor]) -> bool:
    sample = torch.randn(2, 3, 4, 9, generator=torch.Generator().manual_seed(0))
    return torch.equal(function(sample, klen=5), _relative_shift(sample, klen=5))

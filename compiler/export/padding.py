"""Whether padding behind a text changes what the model says of it.

The attention mask hides padding from attention only. What mixes neighbouring tokens in another way (the convolutions of
ConvBERT, the landmarks of Nystromformer) reads it all the same.
"""

from __future__ import annotations

import torch

from compiler.export.graph_inputs import CHOICES, Signature, sample_ids, twin
from compiler.records import Padding

LENGTHS, WIDTH = (11, 3), 24  # tokens of the texts, and of the batch that they are padded in
# Of the root mean square of the answers. Sums over more columns move them by a thousandth of that.
ROUNDING = 1e-3


def padding(traced: Signature, pad: int | None, context: int) -> Padding:
    """Of a model that reads texts: texts alone beside the same ones in a padded batch.

    Args:
        traced: input_ids, attention_mask and perhaps more of (batch, sequence) or (batch, choices, sequence).
        pad: the token that padding consists of; 0 where the model has none.
        context: most tokens the model takes.
    """
    width = min(WIDTH, context)
    lengths = [min(length, max(1, width - 1)) for length in LENGTHS]
    inner = (CHOICES,) if traced.samples[0].dim() == 3 else ()
    ids = sample_ids(len(lengths), *inner, width)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        mask[row, ..., :length] = 1
    ids = torch.where(mask == 1, ids, pad if pad is not None and pad >= 0 else 0)
    known = {"input_ids": ids, "attention_mask": mask}
    feeds = [known.get(name, torch.zeros_like(ids)) for name in traced.inputs]
    model = twin(traced.module)
    try:
        with torch.inference_mode():
            together = model(*feeds)
            alone = [model(*(each[i : i + 1, ..., :n] for each in feeds)) for i, n in enumerate(lengths)]
    except Exception:  # noqa: BLE001 - it cannot run on these, which tracing or the check will explain
        return "hidden"
    changed = any(
        _differ(padded[i : i + 1], single)
        for i, answers in enumerate(alone)
        for padded, single in zip(together, answers, strict=True)
    )
    return "changes answers" if changed else "hidden"


def _differ(padded: torch.Tensor, single: torch.Tensor) -> bool:
    """Beyond rounding, where both have numbers."""
    both = padded[tuple(map(slice, single.shape))]
    return bool((both - single).abs().max() > ROUNDING * single.square().mean().sqrt())

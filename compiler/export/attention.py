"""Attention kept whole: what transformers calls while the model is traced.

Models that route attention through `AttentionInterface` then show one standard `Attention` node a layer, with grouped
key/value heads as they are, and one boolean mask for the whole model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function, sdpa_mask

NAME = "portable"
OPSET = 23
UNREAD = {"position_ids", "cache_position"}  # tensors that are passed on to every attention, and that none reads


def attention(  # noqa: PLR0917 - the signature is transformers'
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    position_bias: torch.Tensor | None = None,
    s_aux: torch.Tensor | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Emit ONNX `Attention` (opset 23).

    Args:
        query: (batch, heads, sequence, head_dim).
        key, value: (batch, kv_heads, total, head_dim), the cache included.
        attention_mask: (batch, 1, sequence, total) bool, True where a key may be seen.
        position_bias: (1, heads, sequence, total), added to the scores.
        s_aux: (heads,), a score that takes part in the softmax and brings no value: an attention sink.

    Returns:
        (batch, sequence, heads, head_dim), and None for the weights.

    Raises:
        NotImplementedError: the model gives its attention a tensor that is not known here.
    """
    unknown = [name for name, given in rest.items() if isinstance(given, torch.Tensor) and name not in UNREAD]
    if unknown:
        raise NotImplementedError(f"{type(module).__name__} gives its attention {', '.join(unknown)}")
    if position_bias is not None:
        attention_mask = _masked_bias(position_bias, attention_mask, query.shape[0])
    if s_aux is not None:
        key, value, attention_mask = _with_sink(s_aux, query, key, value, attention_mask)
    inputs = [query, key, value]
    if attention_mask is not None:
        inputs.append(attention_mask)
    attributes: dict[str, Any] = {}
    if scaling is not None:
        attributes["scale"] = float(scaling)
    if softcap:
        attributes["softcap"] = float(softcap)
    output = torch.onnx.ops.symbolic(
        "Attention",
        inputs,
        attributes,
        dtype=query.dtype,
        shape=(*query.shape[:3], value.shape[-1]),
        version=OPSET,
    )
    return output.transpose(1, 2).contiguous(), None  # some models take a view of it (AfMoE)


def _masked_bias(bias: torch.Tensor, mask: torch.Tensor | None, batch: int) -> torch.Tensor:
    """The bias where a key may be seen, the lowest number elsewhere; (batch, heads, sequence, total).

    A mask of numbers is what the model made itself (the encoder of Switch), and is added.
    """
    if mask is None:
        return bias.expand(batch, -1, -1, -1)
    if mask.dtype != torch.bool:
        return bias + mask
    return torch.where(mask, bias, torch.finfo(bias.dtype).min)


def _with_sink(
    sink: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keys, values and biases with one more column: a key and a value of zeros, whose bias is the sink."""
    batch, heads, rows, _ = query.shape
    bias = query.new_zeros(()) if mask is None else mask
    if bias.dtype == torch.bool:
        bias = torch.where(bias, 0.0, torch.finfo(query.dtype).min)
    bias = bias.expand(batch, heads, rows, key.shape[2])
    bias = torch.cat([bias, sink.to(query.dtype).reshape(1, -1, 1, 1).expand(batch, -1, rows, -1)], dim=-1)
    key, value = (torch.cat([part, torch.zeros_like(part[:, :, :1])], dim=2) for part in (key, value))
    return key, value, bias


def mask(
    *,
    q_length: int,
    kv_length: int,
    q_offset: int | torch.Tensor = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
    **rest: Any,
) -> torch.Tensor:
    """The boolean mask (batch, 1, sequence, total), in as few operators as its kind allows.

    Padding alone and causal with padding are written out; any other kind (windows, chunks, prefixes) is built by
    transformers itself.
    """
    padding = None if attention_mask is None else attention_mask[:, None, None, :].to(torch.bool)
    if kv_offset == 0 and padding is not None and mask_function is bidirectional_mask_function:
        return padding.expand(-1, -1, q_length, -1)  # ONNX Runtime's Attention does not broadcast it
    if kv_offset == 0 and padding is not None and mask_function is causal_mask_function:
        rows = torch.arange(q_length, device=device)[:, None] + q_offset
        columns = torch.arange(kv_length, device=device)[None, :]
        return (columns <= rows)[None, None] & padding
    rest.update(allow_is_causal_skip=False, allow_is_bidirectional_skip=False)
    built = sdpa_mask(
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        kv_offset=kv_offset,
        mask_function=mask_function,
        attention_mask=attention_mask,
        device=device,
        **rest,
    )
    assert isinstance(built, torch.Tensor)
    return built


class AddedMasks(TorchFunctionMode):
    """Within the block, a boolean mask that is added to scores hides what it does not let see.

    Some modules compute attention themselves, beside others that go through the interface (BigBird-Pegasus' encoder),
    and add the mask that `mask` makes for the interface to their scores.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in ADDITIONS and len(args) == 2 and all(isinstance(each, torch.Tensor) for each in args):
            scores, added = args
            if scores.is_floating_point() and added.dtype == torch.bool and added.dim() == scores.dim() == 4:
                args = (scores, torch.where(added, 0.0, torch.finfo(scores.dtype).min))
        return function(*args, **(kwargs or {}))


ADDITIONS = (torch.add, torch.Tensor.add, torch.Tensor.add_, torch.Tensor.__add__, torch.Tensor.__iadd__)


def register() -> None:
    """Make `model.set_attn_implementation(NAME)` known to transformers. Harmless when repeated."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)

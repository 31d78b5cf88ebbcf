"""What is traced of an encoder-decoder: two graphs.

The first reads the text and gives the keys and values of every cross attention, so that they are computed once. The
second is a decoder with a cache of its own tokens, which takes them as inputs.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.utils import ModelOutput

from compiler.export.graph_inputs import BATCH, PAST, SEQUENCE, Dims, Signature, sample_ids, twin
from compiler.records import CacheShape

ENCODED = 6
UNMASKED = "decoder_causal_mask"  # an argument that FSMT leaves out where it keeps keys, for it expects single tokens
# Tokens of one call that an expert has room for (Switch). A generation gives a decoder one at a time.
CAPACITY = "expert_capacity"
PARTS = ("key", "value")


class Encoder(torch.nn.Module):
    """A text to the cross keys and values, layer by layer.

    One step of the decoder makes them, whatever its input; the rest of that step is dead and falls out of the graph.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        input_ids, attention_mask = tensors
        encoded = self.model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.model(
            encoder_outputs=encoded,
            attention_mask=attention_mask,
            decoder_input_ids=torch.zeros_like(input_ids[:, :1]),
            past_key_values=cache,
            use_cache=True,
        )
        return _tensors(cache.cross_attention_cache)


class Decoder(torch.nn.Module):
    """Tokens, the text's mask, past and cross keys and values; gives logits and present keys and values."""

    def __init__(self, model: Any, encoded: type[ModelOutput], hidden: int) -> None:
        super().__init__()
        self.model, self.encoded, self.hidden = model, encoded, hidden
        decoder = model.get_decoder()
        for module in decoder.modules():
            if hasattr(module, CAPACITY):
                setattr(module, CAPACITY, sys.maxsize)
        if UNMASKED in inspect.signature(decoder.forward).parameters:
            decoder.register_forward_pre_hook(_masked, with_kwargs=True)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        input_ids, mask, *kept = tensors
        own, cross = (
            DynamicCache(list(zip(part[::2], part[1::2], strict=True)))
            for part in (kept[: len(kept) // 2], kept[len(kept) // 2 :])
        )
        cache = EncoderDecoderCache(own, cross)
        cache.is_updated = dict.fromkeys(range(len(cross.layers)), True)
        states = tensors[-1].new_zeros(mask.shape[0], mask.shape[1], self.hidden)  # never read: the cache is complete
        answer = self.model(
            encoder_outputs=self.encoded(last_hidden_state=states),
            attention_mask=mask,
            decoder_input_ids=input_ids,
            past_key_values=cache,
            use_cache=True,
        )
        return (answer.logits, *_tensors(cache.self_attention_cache))


def signatures(model: Any) -> tuple[Signature, Signature]:
    """The encoder's and the decoder's; shapes are read from the caches of one real call."""
    ids = sample_ids(BATCH, ENCODED)
    mask = torch.ones_like(ids)
    mask[0, -1:] = 0
    probed = twin(model)
    with torch.inference_mode():
        encoded = probed.get_encoder()(input_ids=ids, attention_mask=mask)
        cache = probed(
            encoder_outputs=encoded,
            attention_mask=mask,
            decoder_input_ids=sample_ids(BATCH, SEQUENCE),
            use_cache=True,
        ).past_key_values
    own, cross = cache.self_attention_cache.layers, cache.cross_attention_cache.layers
    _, heads, _, width = own[0].keys.shape
    shape = CacheShape(layers=len(own), kv_heads=heads, head_dim=width)

    crossed: dict[str, Dims] = {
        f"cross_key_values.{layer}.{part}": ("batch", kept.keys.shape[1], "encoder_sequence", kept.keys.shape[3])
        for layer, kept in enumerate(cross)
        for part in PARTS
    }
    text: Dims = ("batch", "encoder_sequence")
    encoder = Signature(Encoder(model), {"input_ids": text, "attention_mask": text}, tuple(crossed), (ids, mask), None)
    past: dict[str, Dims] = {
        f"past_key_values.{layer}.{part}": ("batch", heads, "past_sequence", width)
        for layer in range(len(own))
        for part in PARTS
    }
    inputs: dict[str, Dims] = {"input_ids": ("batch", "sequence"), "encoder_attention_mask": text, **past, **crossed}
    samples = [sample_ids(BATCH, SEQUENCE), mask]
    samples += [torch.randn(BATCH, heads, PAST, width) for _ in past]
    samples += [torch.randn(BATCH, *kept.keys.shape[1:]) for kept in cross for _ in PARTS]
    outputs = ("logits", *(name.replace("past_key_values", "present") for name in past))
    return encoder, Signature(
        Decoder(model, type(encoded), encoded[0].shape[-1]), inputs, outputs, tuple(samples), shape
    )


def _masked(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A decoder's arguments with the mask (sequence, past + sequence) by which no token sees a later one."""
    tokens, past = args[0].shape[1], options["past_key_values"].get_seq_length()
    rows, columns = torch.arange(tokens)[:, None] + past, torch.arange(past + tokens)[None]
    return args, {**options, UNMASKED: torch.where(columns <= rows, 0.0, torch.finfo(torch.float32).min)}


def _tensors(cache: Any) -> tuple[torch.Tensor, ...]:
    return tuple(tensor for layer in cache.layers for tensor in (layer.keys, layer.values))

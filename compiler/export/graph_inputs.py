"""What is traced: the model with flat, named, tensor-only inputs, and samples that lose no part of it."""

from __future__ import annotations

import copy
import inspect
import itertools
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from compiler.checkpoint.failing import cause
from compiler.checkpoint.load import allow_batches
from compiler.errors import ExportError
from compiler.records import CacheShape
from compiler.tasks import TASKS

BATCH, CHOICES, SEQUENCE, PAST = 2, 3, 5, 4

TOKENS = TASKS["feature-extraction"].outputs
PERMUTED = "perm_mask"  # an argument of permutation language models

Dims = tuple[int | str, ...]


@dataclass(frozen=True)
class Signature:
    """Names of the graph's inputs and outputs with their dims, and sample inputs in the same order."""

    module: torch.nn.Module
    inputs: dict[str, Dims]
    outputs: tuple[str, ...]
    samples: tuple[torch.Tensor, ...]
    cache: CacheShape | None


class Encoder(torch.nn.Module):
    """Flat inputs by name, the task's outputs."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model: Any = model
        self.names, self.outputs = names, outputs
        allow_batches(model)
        accepted = inspect.signature(model.forward).parameters
        self.float_mask = PERMUTED in accepted  # these subtract it from 1.0
        # Nobody reads the cache that a decoder's body fills here, but one with a window cuts it at a length of its own.
        self.options = {"use_cache": False} if "use_cache" in accepted else {}

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = self.answer(*tensors)
        return tuple(answer[name] for name in self.outputs)

    def answer(self, *tensors: torch.Tensor) -> Any:
        """All that the model says, by name."""
        named = dict(zip(self.names, tensors, strict=True))
        if self.float_mask:
            named["attention_mask"] = named["attention_mask"].to(torch.float32)
        return self.model(**named, **self.options)


class Decoder(torch.nn.Module):
    """Token inputs by name, then past keys and values layer by layer; gives logits, then present keys and values."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named, past = tensors[: len(self.names)], tensors[len(self.names) :]
        cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        answer = self.model(**dict(zip(self.names, named, strict=True)), past_key_values=cache, use_cache=True)
        present = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        return (answer.logits, *present)


class Permutation(torch.nn.Module):
    """A permutation language model (XLNet): a text, padded on the left, to the logits (batch, 1, vocabulary) after it.

    As in transformers' own generation, a position is appended that no other one sees, and what stands there is asked.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        input_ids, attention_mask = tensors
        asked = torch.zeros_like(input_ids[:, :1])
        ids = torch.cat([input_ids, asked], dim=1)
        mask = torch.cat([attention_mask, asked + 1], dim=1)
        batch, length = ids.shape
        last = (torch.arange(length, device=ids.device) == length - 1).to(torch.float32)[None, None]
        logits: torch.Tensor = self.model(
            ids,
            attention_mask=mask.to(torch.float32),
            perm_mask=last.expand(batch, length, length),
            target_mapping=last.expand(batch, 1, length),
            use_mems=False,
        ).logits
        return logits


def signature(model: Any, task: str) -> Signature:
    """Wrap an encoder or a decoder for tracing.

    Samples have unequal row lengths: on a mask of ones transformers skips the mask, and the graph would lose it.
    """
    accepted = inspect.signature(model.forward).parameters
    if TASKS[task].kind == "encoder":
        return _encoder(model, task)
    if PERMUTED in accepted:
        return _permutation(model)
    return _decoder(model, "position_ids" in accepted)


def _encoder(model: Any, task: str) -> Signature:
    choices = task == "multiple-choice"
    shape, dims = (
        ((BATCH, CHOICES, SEQUENCE), ("batch", "choices", "sequence"))
        if choices
        else ((BATCH, SEQUENCE), ("batch", "sequence"))
    )
    ids = sample_ids(*shape)
    mask = torch.ones_like(ids)
    mask[0, ..., -1:] = 0
    samples = {"input_ids": ids, "attention_mask": mask}
    outputs = TASKS[task].outputs
    _require_text_alone(Encoder(twin(model), tuple(samples), outputs), samples)
    if reads_types(model, samples):
        samples["token_type_ids"] = torch.zeros_like(ids)
    inputs: dict[str, Dims] = dict.fromkeys(samples, dims)
    return Signature(Encoder(model, tuple(samples), outputs), inputs, outputs, tuple(samples.values()), None)


def _require_text_alone(encoder: Encoder, samples: dict[str, torch.Tensor]) -> None:
    """Raises ExportError where PyTorch itself does not give the encoder's outputs for a text of any length.

    An encoder-decoder may also want the beginning of an answer (BART's makes that of the text), Nystromformer one
    length alone; DPR has vectors of whole texts and none of tokens.
    """
    name, outputs = type(encoder.model).__name__, encoder.outputs
    elsewhere = "a model of a family that docs/families.md lists"
    generating = "another task, such as --task text2text-generation"
    try:
        with torch.inference_mode():
            answer = encoder.answer(*samples.values())
    except Exception as error:  # modeling code raises dozens of kinds
        raise ExportError(
            f"{name} does not read a text alone",
            found=cause(error),
            expected="an encoder for texts of any length, or one whose decoder's text is made of the encoder's",
            action=f"choose {generating if encoder.model.config.is_encoder_decoder else elsewhere}",
        ) from error
    rows, columns = samples["input_ids"].shape[0], samples["input_ids"].shape[-1]
    shapes = {each: tuple(tensor.shape) for each, tensor in answer.items() if isinstance(tensor, torch.Tensor)}
    if not set(outputs) <= shapes.keys() or (outputs == TOKENS and shapes[outputs[0]][:2] != (rows, columns)):
        raise ExportError(
            f"{name} has not the answers of its task",
            found=", ".join(f"{each} {shape}" for each, shape in shapes.items()),
            expected=f"{', '.join(outputs)} for {rows} texts of {columns} tokens",
            action=f"choose another task, or {elsewhere}",
        )


def twin(model: Any) -> Any:
    """The same model on the same weights, to be called without leaving anything behind.

    Some models stay with what the first text made of them: BigBird, after one short text, with full attention.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def reads_types(model: Any, samples: dict[str, torch.Tensor]) -> bool:
    """Whether `token_type_ids` of 1 change the answers, and 0 is what a model assumes that is given none."""
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        return False
    zeros = torch.zeros_like(samples["input_ids"])
    mixed = zeros.clone()
    mixed[..., 1:3] = 1
    model = twin(model)
    try:
        with torch.inference_mode():
            without, first, second = (model(**samples, **types)[0] for types in (
                {}, {"token_type_ids": zeros}, {"token_type_ids": mixed},
            ))  # fmt: skip
    except Exception:  # noqa: BLE001 - it knows one type only, or cannot run at all, which tracing will explain
        return False
    return torch.allclose(without, first, atol=1e-5) and not torch.allclose(first, second, atol=1e-5)


def _decoder(model: Any, positions: bool) -> Signature:
    mask = torch.ones(BATCH, PAST + SEQUENCE, dtype=torch.int64)
    mask[0, :1] = 0
    named: dict[str, tuple[torch.Tensor, Dims]] = {
        "input_ids": (sample_ids(BATCH, SEQUENCE), ("batch", "sequence")),
        "attention_mask": (mask, ("batch", "total_sequence")),
    }
    if positions:
        numbered = torch.arange(PAST, PAST + SEQUENCE).expand(BATCH, SEQUENCE).contiguous()
        named["position_ids"] = (numbered, ("batch", "sequence"))
    names = tuple(named)
    inputs = {name: dims for name, (_, dims) in named.items()}
    samples = [tensor for tensor, _ in named.values()]
    cache = cache_shape(model)
    outputs = ["logits"]
    for layer in range(cache.layers):
        for part in ("key", "value"):
            inputs[f"past_key_values.{layer}.{part}"] = ("batch", cache.kv_heads, "past_sequence", cache.head_dim)
            outputs.append(f"present.{layer}.{part}")
            samples.append(torch.randn(BATCH, cache.kv_heads, PAST, cache.head_dim))
    return Signature(Decoder(model, names), inputs, tuple(outputs), tuple(samples), cache)


def _permutation(model: Any) -> Signature:
    mask = torch.ones(BATCH, SEQUENCE, dtype=torch.int64)
    mask[0, :1] = 0
    inputs: dict[str, Dims] = dict.fromkeys(("input_ids", "attention_mask"), ("batch", "sequence"))
    cache = CacheShape(layers=0, kv_heads=0, head_dim=0, layout="none")
    return Signature(Permutation(model), inputs, ("logits",), (sample_ids(BATCH, SEQUENCE), mask), cache)


def sample_ids(*shape: int) -> torch.Tensor:
    """Small token ids that no configuration reserves for padding."""
    return torch.arange(torch.Size(shape).numel()).reshape(shape) % 7 + 3


def cache_shape(model: Any) -> CacheShape:
    """Read from the cache that one real call leaves behind."""
    with torch.inference_mode():
        layers = twin(model)(input_ids=sample_ids(1, SEQUENCE), use_cache=True).past_key_values.layers
    _, heads, _, width = layers[0].keys.shape
    return CacheShape(layers=len(layers), kv_heads=heads, head_dim=width)

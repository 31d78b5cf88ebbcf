"""export: checkpoint -> portable model.

One standard ONNX graph per checkpoint and task, traced once: attention, norms and rotary embeddings are single nodes,
equal axes share one name, a decoder's graph serves prompt and continuation alike, and every node knows the module it
came from. Nothing in it knows the hardware.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import onnx_ir as ir

from compiler.checkpoint import Checkpoint, leftover, load_model, load_tokenizer, sentence
from compiler.checkpoint.failing import modeling
from compiler.checkpoint.length import context_length, kept_length
from compiler.checkpoint.virtual import VirtualTokens
from compiler.errors import ExportError
from compiler.export import lora, portable
from compiler.export.carried import carry, rows
from compiler.export.encoder_decoder import signatures
from compiler.export.graph_inputs import Signature, signature
from compiler.export.padding import padding
from compiler.export.prefix import prefixed
from compiler.export.trace import REPORT, trace
from compiler.records import Exported, Graph, Tensor
from compiler.tasks import TASKS


def export(checkpoint: Checkpoint, out: Path) -> Exported:
    """Write the portable model, its tokenizer and configuration into the folder `out`.

    Raises:
        CheckpointError: weights or tokenizer cannot be loaded, or do not fit each other.
        ExportError: the model cannot be traced or the graph is not valid.
    """
    started = time.perf_counter()
    needless: list[str] = []
    loaded: Any = load_model(checkpoint.folder, checkpoint.task, unread=needless)
    with modeling(ExportError, f"{type(loaded).__name__} cannot be exported", REPORT):
        exported = _exported(checkpoint, loaded, needless, out)
    return msgspec.structs.replace(exported, seconds=time.perf_counter() - started)


def _exported(checkpoint: Checkpoint, loaded: Any, needless: list[str], out: Path) -> Exported:
    kind = TASKS[checkpoint.task].kind
    virtual = loaded if isinstance(loaded, VirtualTokens) else None
    model = virtual.base if virtual else loaded
    tokenizer = load_tokenizer(checkpoint.folder)
    unread = leftover.entries(checkpoint, tokenizer, needless)
    vocabulary = carry(checkpoint, model, tokenizer, out)
    stated = length = context_length(checkpoint.folder, model) - (virtual.virtual if virtual else 0)
    changes = lora.read(model, checkpoint.adapters, kind)
    encoder: Graph | None = None
    name = portable.MODEL
    reading: Signature | None = None
    with modeling(ExportError, f"{type(model).__name__} cannot be called as models of its kind are", REPORT):
        if kind == "encoder-decoder":
            reading, traced = signatures(model)
        elif virtual and kind == "decoder":
            traced = prefixed(virtual, checkpoint.task)
        else:
            traced = signature(loaded, checkpoint.task)
        pad = model.config.get_text_config().pad_token_id
        padded = padding(traced, pad, length) if kind == "encoder" else "hidden"
        token_rows = rows(model.get_decoder() if reading else model)
    if reading:
        graph, length = _write(model, reading, length, out, portable.ENCODER)
        encoder = Graph(model=portable.ENCODER, inputs=_tensors(graph.inputs), outputs=_tensors(graph.outputs))
        name = portable.DECODER
    with lora.apart(model, traced, changes) as with_adapters:
        graph, length = _write(model, with_adapters, length, out, name)
    reason = f"for longer texts {type(model).__name__} takes another branch" if length < stated else ""
    kept = kept_length(model.config) - (virtual.virtual if virtual else 0)
    if traced.cache and traced.cache.layers and kept < length:
        length, reason = kept, "beyond them its rotary frequencies are others, which kept keys do not have"
    pooling = activation = None
    if checkpoint.task == "feature-extraction":
        pooling = sentence.pooling(checkpoint.folder)
        sentence.check_width(pooling, _tensor(graph.outputs[0]).shape[-1], checkpoint.location)
        sentence.write_weights(checkpoint.folder, pooling, out)
    elif checkpoint.task == "text-classification":
        activation = sentence.activation(checkpoint.folder, checkpoint.config)
    return Exported(
        source=checkpoint.source,
        task=checkpoint.task,
        kind=kind,
        architecture=type(model).__name__,
        model_type=model.config.model_type,
        model=name,
        opset=graph.opset_imports[""],
        inputs=_tensors(graph.inputs),
        outputs=_tensors(graph.outputs),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        context_length=length,
        stated_context=stated,
        context_reason=reason,
        unread=unread,
        vocabulary=vocabulary,
        seconds=0.0,
        versions=versions(),
        cache=traced.cache,
        pooling=pooling,
        activation=activation,
        encoder=encoder,
        token_rows=token_rows,
        padding=padded,
        adapters=lora.write(changes, checkpoint.adapters, out),
    )


def _write(model: Any, traced: Signature, length: int, out: Path, name: str) -> tuple[ir.Graph, int]:
    """The graph, and the context that it holds for."""
    graph, context = trace(model, traced, length)
    portable.tidy(graph, traced)
    portable.save(graph, out, name)
    return graph.graph, context


def versions() -> dict[str, str]:
    """What traced it: Python and every package that decides the graph."""
    names = ("transformer-compiler", "torch", "transformers", "onnx", "onnx-ir", "onnxscript", "tokenizers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _tensors(values: Iterable[Any]) -> tuple[Tensor, ...]:
    return tuple(map(_tensor, values))


def _tensor(value: Any) -> Tensor:
    shape = tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)
    return Tensor(name=value.name, dtype=str(value.dtype.numpy()), shape=shape)

"""export: checkpoint -> portable model.

One standard ONNX graph per checkpoint and task, traced once: attention, norms and rotary embeddings are single nodes,
equal axes share one name, a decoder's graph serves prompt and continuation alike, and every node knows the module it
came from. Nothing in it knows the hardware.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir

from compiler import records
from compiler.checkpoint import Checkpoint, load_model, load_tokenizer
from compiler.checkpoint.pooling import context_length, pooling
from compiler.checkpoint.virtual import VirtualTokens
from compiler.errors import CheckpointError
from compiler.export import lora, portable
from compiler.export.encoder_decoder import signatures
from compiler.export.graph_inputs import Signature, signature
from compiler.export.prefix import prefixed
from compiler.export.trace import trace
from compiler.records import Exported, Graph, Tensor
from compiler.tasks import TASKS

RECORD = "exported.json"
CARRIED = ("config.json", "generation_config.json", "chat_template.jinja", "special_tokens_map.json")


def export(checkpoint: Checkpoint, out: Path) -> Exported:
    """Write the portable model, its tokenizer and configuration, and `exported.json` into the folder `out`.

    Raises:
        CheckpointError: weights or tokenizer cannot be loaded, or do not fit each other.
        ExportError: the model cannot be traced or the graph is not valid.
    """
    started = time.perf_counter()
    loaded: Any = load_model(checkpoint.folder, checkpoint.task)
    kind = TASKS[checkpoint.task].kind
    virtual = loaded if isinstance(loaded, VirtualTokens) else None
    model = virtual.base if virtual else loaded
    vocabulary = _carry_text_files(checkpoint, model, out)
    length = context_length(checkpoint.folder, model) - (virtual.virtual if virtual else 0)
    changes = lora.read(model, checkpoint.adapters, kind)
    encoder: Graph | None = None
    name = portable.MODEL
    if kind == "encoder-decoder":
        reading, traced = signatures(model)
        graph = _write(model, reading, length, out, portable.ENCODER)
        encoder = Graph(model=portable.ENCODER, inputs=_tensors(graph.inputs), outputs=_tensors(graph.outputs))
        name = portable.DECODER
    elif virtual and kind == "decoder":
        traced = prefixed(virtual, checkpoint.task)
    else:
        traced = signature(loaded, checkpoint.task)
    with lora.apart(model, traced, changes) as with_adapters:
        graph = _write(model, with_adapters, length, out, name)
    exported = Exported(
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
        vocabulary=vocabulary,
        seconds=time.perf_counter() - started,
        versions=versions(),
        cache=traced.cache,
        pooling=pooling(checkpoint.folder) if checkpoint.task == "feature-extraction" else None,
        encoder=encoder,
        adapters=lora.write(changes, checkpoint.adapters, out),
    )
    records.save(exported, out / RECORD)
    return exported


def _write(model: Any, traced: Signature, length: int, out: Path, name: str) -> ir.Graph:
    graph = trace(model, traced, length)
    portable.tidy(graph, traced)
    portable.save(graph, out, name)
    return graph.graph


def versions() -> dict[str, str]:
    """What traced it: Python and every package that decides the graph."""
    names = ("transformer-compiler", "torch", "transformers", "onnx", "onnx-ir", "onnxscript", "tokenizers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _carry_text_files(checkpoint: Checkpoint, model: Any, out: Path) -> int:
    """Copy configuration, save the tokenizer as tokenizer.json; gives the vocabulary's size."""
    tokenizer = load_tokenizer(checkpoint.folder)
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(
            f"{checkpoint.location}: this tokenizer has no tokenizer.json form",
            found=type(tokenizer).__name__,
            action="use a checkpoint with a fast tokenizer",
        )
    rows = model.get_input_embeddings().weight.shape[0]
    last, number = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    if number >= rows:
        raise CheckpointError(
            f"{checkpoint.location}: tokenizer and model do not belong together",
            found=f"token {number} ({last!r}) in the tokenizer, {rows} rows in the embedding",
            expected="a row for every token",
            action="use the tokenizer that the model was trained with",
        )
    tokenizer.save_pretrained(out)
    model.config.save_pretrained(out)
    for name in CARRIED:
        if (checkpoint.folder / name).exists() and not (out / name).exists():
            shutil.copyfile(checkpoint.folder / name, out / name)
    kept = {*CARRIED, "tokenizer.json", "tokenizer_config.json"}
    for path in out.iterdir():
        if path.name not in kept:
            path.unlink()
    config = json.loads((out / "tokenizer_config.json").read_bytes())
    config.pop("name_or_path", None)
    for name in ("padding_side", "model_input_names"):  # transformers leaves a class' own out
        config[name] = getattr(tokenizer, name)
    (out / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return int(number) + 1


def _tensors(values: Iterable[Any]) -> tuple[Tensor, ...]:
    return tuple(map(_tensor, values))


def _tensor(value: Any) -> Tensor:
    shape = tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)
    return Tensor(name=value.name, dtype=str(value.dtype.numpy()), shape=shape)

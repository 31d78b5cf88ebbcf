"""The model on its way: where it came from, the portable graph, the lowered one."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec

from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.pooling import Pooling

Kind = Literal["encoder", "decoder", "encoder-decoder"]
Padding = Literal["hidden", "changes answers", "unknown"]  # "unknown": of a bundle that is older than this

# What a record may say is bounded, so that no file of a few bytes can ask for all memory.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]  # of parameters
Size = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]  # of a dim
Few = Annotated[int, msgspec.Meta(ge=0, le=65_536)]  # layers, heads, widths of a head, ranks
Dtype = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{2,15}$")]


class Source(Record, frozen=True):
    """Where the weights came from, and their identity.

    `digest` is the SHA-256 over the names and contents of the files that decide the answers (weights, configuration,
    tokenizer), so two sources with one digest are the same model. `name` is the hub's id, or the last part of a path:
    where the files lay is nobody else's business. `adapter` was compiled into the model, and counts for its digest.
    """

    kind: Literal["hub", "folder", "gguf"]
    name: str
    digest: str
    revision: str | None = None
    adapter: Source | None = None


class Tensor(Record, frozen=True):
    """A graph input or output. A dim is a size or a name; equal names are equal sizes. `dtype` is numpy's name."""

    name: str
    dtype: Dtype
    shape: tuple[Size | str, ...]


class CacheShape(Record, frozen=True):
    """What a decoder remembers: per layer a key and a value of (batch, kv_heads, length, head_dim) in `dtype`.

    layout "concatenated": `present` is `past` with the new tokens appended, `attention_mask` (batch, total) marks the
    columns that hold real tokens and `position_ids` numbers them. layout "shared": `past` and `present` may be one
    buffer of any capacity, row b's tokens lie at columns 0 .. length[b] - 1, and `attention_mask` row b is length[b]
    ones, then zeros (rows are padded on the right). layout "none": the graph has no past; each step it is given the
    whole text, rows padded on the left, and gives the logits (batch, 1, vocabulary) of what follows.

    `capacity` is the number of columns where the graph fixes it ("shared" only), otherwise any will do.
    """

    layers: Few
    kv_heads: Few
    head_dim: Few
    layout: Literal["concatenated", "shared", "none"] = "concatenated"
    dtype: Literal["float32", "float16"] = "float32"
    capacity: Size | None = None


class Graph(Record, frozen=True):
    """One ONNX file beside the main one: `model` and its `.data`."""

    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Graphs(Protocol):
    """A record of a model, exported, lowered or in a bundle."""

    @property
    def model(self) -> str: ...

    @property
    def encoder(self) -> Graph | None: ...


def graph_files(record: Graphs) -> tuple[str, ...]:
    """The ONNX file of every graph, the main one first."""
    return (record.model, *([record.encoder.model] if record.encoder else ()))


class Adapter(Record, frozen=True):
    """Low-rank changes of the weights that a request can choose by `name`.

    `file` is a .npz with an array for each of the graph's inputs "adapter.MODULE.A" (in, rank) and "adapter.MODULE.B"
    (rank, out) float32, the scale multiplied into B. The base answers where all of them have rank 0.
    """

    name: str
    file: str
    source: Source
    rank: Few


class Exported(Record, frozen=True):
    """The portable model: `model` (and its `.data` beside it) is standard ONNX that knows no hardware.

    Of an encoder-decoder, `model` is the decoder. `encoder` reads the text: `input_ids` and `attention_mask` (batch,
    encoder_sequence) to the keys and values of every cross attention, "cross_key_values.LAYER.key" and ".value"
    (batch, heads, encoder_sequence, head_dim), which are inputs of the decoder beside `encoder_attention_mask`.

    `vocabulary` is what the tokenizer can give, `token_rows` how many tokens the graph's table has rows for, often a
    few more (0: not known).

    `stated_context` is the context that the checkpoint states (0: not known). Where `context_length` is less,
    `context_reason` says why.

    `padding` "changes answers" where PyTorch says something else of a text when padding stands behind it.

    `unread` names what of the checkpoint was not read since no answer depends on it: entries of its files, such as
    "config.json: n_ctx", tensors, files.
    """

    source: Source
    task: str
    kind: Kind
    architecture: str
    model_type: str
    model: str
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: Count
    context_length: Size
    vocabulary: Size
    seconds: float
    versions: dict[str, str]
    cache: CacheShape | None = None
    pooling: Pooling | None = None
    activation: Literal["sigmoid", "none"] | None = None
    encoder: Graph | None = None
    token_rows: int = 0
    padding: Padding = "hidden"
    stated_context: int = 0
    context_reason: str = ""
    unread: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    schema_version: int = SCHEMA_VERSION


class PassRun(Record, frozen=True):
    """What one pass did. `kept` is false where the guard found changed answers and the pass was undone.

    `error` is the largest absolute difference of any output that the pass caused on the sample feeds, relative to
    the largest absolute output (None where the pass changed nothing). `graph` is "encoder" for the first of the two
    graphs of an encoder-decoder.
    """

    name: str
    options: dict[str, Any]
    modified: bool
    kept: bool
    nodes_before: int
    nodes_after: int
    seconds: float
    error: float | None = None
    reason: str = ""
    graph: str = ""


class Optimized(Record, frozen=True):
    """A model lowered for one profile. `inputs` and `outputs` are the lowered graph's own."""

    exported: Exported
    profile: str
    precision: str
    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    passes: tuple[PassRun, ...]
    op_counts: dict[str, int]
    seconds: float
    cache: CacheShape | None = None
    encoder: Graph | None = None
    schema_version: int = SCHEMA_VERSION

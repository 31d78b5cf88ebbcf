"""How an encoder's token vectors become one vector a text: the modules of sentence-transformers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from compiler.records.base import Record

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
Width = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]  # of a vector
Activation = Literal["Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU"]


class Dense(Record, frozen=True, tag_field="module", tag="Dense"):
    """activation(x W^T + b), with the input added where `residual`: projected by a matrix of its own, if widths differ.

    Its weights are W (outputs, inputs), b (outputs,) if `bias`, and that matrix (outputs, inputs).
    """

    inputs: Width
    outputs: Width
    bias: bool
    activation: Activation
    residual: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The weights by their names in the checkpoint, in the order in which they are kept."""
        matrix = (self.outputs, self.inputs)
        found: dict[str, tuple[int, ...]] = {"linear.weight": matrix}
        if self.bias:
            found["linear.bias"] = (self.outputs,)
        if self.residual and self.inputs != self.outputs:
            found["residual.weight"] = matrix
        return found


class LayerNorm(Record, frozen=True, tag_field="module", tag="LayerNorm"):
    """Layer normalization with weight and bias of (width,), epsilon 1e-5."""

    width: Width

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"norm.weight": (self.width,), "norm.bias": (self.width,)}


class Normalize(Record, frozen=True, tag_field="module", tag="Normalize"):
    """To length 1."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}


class Truncate(Record, frozen=True, tag_field="module", tag="Truncate"):
    """The first `width` numbers alone (Matryoshka)."""

    width: Width

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {}


Module = Dense | LayerNorm | Normalize | Truncate


class Messages(Record, frozen=True):
    """Texts are read as chat messages of a user, in the checkpoint's chat template; a prompt is the system's message.

    `layout` is that of a message's content: "flat" is the text, "structured" a list of one part of type "text".
    `variables` are what the template is shown beside the messages. Where `restores`, what the template puts behind
    every text stands at the end of one that was cut too.
    """

    layout: Literal["flat", "structured"]
    variables: dict[str, Any] = msgspec.field(default_factory=dict)
    restores: bool = True


class Pooling(Record, frozen=True):
    """How a checkpoint turns token vectors (batch, sequence, hidden) into one vector a text.

    The vectors of all `modes` are joined in this order, (batch, modes * hidden), and go through `modules` one after the
    other, whose weights are in the file "modules.f32": float32, little-endian, one array after the other, nothing else.
    Tokens of a prompt do not count where `include_prompt` is false.

    `max_length` is the number of tokens after which the checkpoint cuts a text (None: the context length). `prompts`
    are put in front of texts; the one called `default_prompt` where a call names none. `messages`: how texts are put
    into a chat template, where they are.
    """

    modes: tuple[PoolingMode, ...] = ("mean",)
    modules: tuple[Module, ...] = ()
    include_prompt: bool = True
    max_length: Annotated[int, msgspec.Meta(ge=0)] | None = None
    prompts: dict[str, str] = msgspec.field(default_factory=dict)
    default_prompt: str | None = None
    messages: Messages | None = None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of all weights, in the order of the file."""
        return [shape for module in self.modules for shape in module.shapes.values()]

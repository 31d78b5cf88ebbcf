"""LoRA adapters that stay apart: their matrices become inputs of the graph beside the base's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compiler.bundle import ADAPTERS
from compiler.checkpoint.adapter import FOLDER as ADAPTER
from compiler.checkpoint.adapter import Adapter as Found
from compiler.checkpoint.tuned import LowRank, low_rank
from compiler.errors import CheckpointError
from compiler.export.graph_inputs import Signature
from compiler.records import Adapter, Kind

RANK = 3  # of the sample; any rank will do at run time
Changes = dict[str, LowRank]


class Given:
    """The matrices of the call being traced, by module."""

    def __init__(self) -> None:
        self.matrices: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}


class Adapted(torch.nn.Module):
    """The wrapped model's inputs, then A and B of every changed module."""

    def __init__(self, inner: torch.nn.Module, given: Given, modules: Sequence[str]) -> None:
        super().__init__()
        self.inner, self.given, self.modules_changed = inner, given, tuple(modules)

    def forward(self, *tensors: torch.Tensor) -> Any:
        count = len(tensors) - 2 * len(self.modules_changed)
        pairs = zip(tensors[count::2], tensors[count + 1 :: 2], strict=True)
        self.given.matrices = dict(zip(self.modules_changed, pairs, strict=True))
        return self.inner(*tensors[:count])


def read(model: Any, adapters: Sequence[Found], kind: Kind) -> dict[str, Changes]:
    """Every adapter's changes, by name; the model is left as it was.

    Raises:
        CheckpointError: one is not plain LoRA of linear layers, or does not fit the model.
    """
    if adapters and kind == "encoder-decoder":
        raise CheckpointError(
            "adapters of an encoder-decoder cannot be kept apart",
            expected="one adapter without a name, which is merged",
            action="build one bundle for each: --adapter PATH",
        )
    found: dict[str, Changes] = {}
    for adapter in adapters:
        assert adapter.joined is not None
        found[adapter.name] = low_rank(model, adapter.joined / ADAPTER, adapter.name)
    return found


def widths(changes: Mapping[str, Changes]) -> dict[str, tuple[int, int]]:
    """In and out features of every module that any adapter changes."""
    return {
        module: (change.a.shape[0], change.b.shape[1]) for every in changes.values() for module, change in every.items()
    }


@contextmanager
def apart(model: Any, signature: Signature, changes: Mapping[str, Changes]) -> Iterator[Signature]:
    """The signature with the inputs "adapter.MODULE.A" (in, rank) and "adapter.MODULE.B" (rank, out).

    Within the block every module that an adapter changes adds x A B to what it computes.
    """
    given, modules = Given(), widths(changes)
    inputs, samples = dict(signature.inputs), list(signature.samples)
    for module, (width_in, width_out) in modules.items():
        inputs[f"adapter.{module}.A"] = (width_in, "rank")
        inputs[f"adapter.{module}.B"] = ("rank", width_out)
        samples += [torch.randn(width_in, RANK), torch.randn(RANK, width_out)]
    wrapped = Adapted(signature.module, given, list(modules)) if modules else signature.module
    layers = [model.get_submodule(module) for module in modules]
    for layer, module in zip(layers, modules, strict=True):
        layer.forward = _adding(layer.forward, given, module)
    try:
        yield replace(signature, module=wrapped, inputs=inputs, samples=tuple(samples))
    finally:
        for layer in layers:
            del layer.forward


def write(changes: Mapping[str, Changes], adapters: Sequence[Found], out: Path) -> tuple[Adapter, ...]:
    """Each adapter's matrices in `out/adapters/NAME.npz`, padded with zeros to one rank and to all changed modules."""
    if not adapters:
        return ()
    (out / ADAPTERS).mkdir()
    every = widths(changes)
    records = []
    for adapter in adapters:
        own = changes[adapter.name]
        rank = max(change.a.shape[1] for change in own.values())
        arrays: dict[str, np.ndarray] = {}
        for module, (width_in, width_out) in every.items():
            a, b = np.zeros((width_in, rank), np.float32), np.zeros((rank, width_out), np.float32)
            if module in own:
                used = own[module].a.shape[1]
                a[:, :used], b[:used] = own[module].a.numpy(), own[module].b.numpy()
            arrays |= {f"adapter.{module}.A": a, f"adapter.{module}.B": b}
        file = f"{ADAPTERS}/{adapter.name}.npz"
        np.savez(out / file, **arrays)  # type: ignore[arg-type]
        records.append(Adapter(name=adapter.name, file=file, source=adapter.source, rank=rank))
    return tuple(records)


def _adding(forward: Callable[..., Any], given: Given, module: str) -> Callable[..., Any]:
    def adding(x: torch.Tensor) -> torch.Tensor:
        a, b = given.matrices[module]
        return forward(x) + (x @ a) @ b  # type: ignore[no-any-return]

    return adding

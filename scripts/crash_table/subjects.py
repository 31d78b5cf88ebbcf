"""Tiny random checkpoints, one for each way in which a checkpoint comes into the cache, and their builds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from compiler import bundle, pipeline
from compiler.checkpoint.quiet import quiet

DATED = frozenset({"certificate.json", "report.html"})  # they hold the time of the build
LEFT = re.compile(r"\..*\.(partial|old|lock)")


class Subject(NamedTuple):
    name: str
    model: Path
    adapters: tuple[str, ...] = ()
    adapter_base: str | None = None

    def build(self, out: Path) -> None:
        """Raises CompilerError, as the command does; anything else is a crash."""
        with quiet():
            pipeline.build(
                str(self.model),
                adapters=self.adapters,
                adapter_base=self.adapter_base,
                out=out,
                precision="float32",
                allow_pickle=True,
                bench=False,
            )


def subjects(folder: Path) -> list[Subject]:
    """An encoder of pickles, a decoder of GGUF, a plain encoder-decoder, and a decoder with an adapter compiled in."""
    from tests import families, peft_adapters
    from tests.checkpoint import test_gguf_files as gguf_files

    encoder = families.checkpoint(families.family("bert", "feature-extraction"), folder / "encoder")
    _pickle(encoder)
    translator = families.checkpoint(families.family("t5", "text2text-generation"), folder / "translator")
    base = peft_adapters.llama(folder / "base")
    config = peft_adapters.lora("llama", task_type="CAUSAL_LM")
    adapter = peft_adapters.adapter(base, folder / "adapter", config)
    return [
        Subject("encoder, pickled", encoder),
        Subject("decoder, GGUF", gguf_files.write(folder / "decoder.gguf", gguf_files.llama())),
        Subject("encoder-decoder", translator),
        Subject("decoder with adapter", base, (str(adapter),), str(base)),
    ]


def use(cache: Path) -> None:
    """Builds of this process, and of those it starts, take this folder as their cache."""
    os.environ["TRANSFORMER_COMPILER_CACHE"] = str(cache)


def digests(folder: Path) -> dict[str, str]:
    """Of a bundle's files but those that hold the time. Raises IntegrityError unless it is whole."""
    manifest = bundle.verify(folder)
    return {name: entry.sha256 for name, entry in manifest.files.items() if name not in DATED}


def leftovers(folder: Path, *, allowed: Callable[[Path], bool] = lambda _: False) -> list[str]:
    """What unfinished work is called, anywhere under a folder."""
    found = [path for path in folder.rglob(".*") if LEFT.fullmatch(path.name) and not allowed(path)]
    return [str(path.relative_to(folder)) for path in found]


def _pickle(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

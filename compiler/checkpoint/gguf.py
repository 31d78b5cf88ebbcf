"""GGUF -> a folder of float32 safetensors with its tokenizer, written once per file."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.checkpoint.quiet import quiet
from compiler.errors import CheckpointError
from compiler.storage import staging


def materialize(path: Path, out: Path) -> Path:
    """Dequantize `path` into `out` (config.json, model.safetensors float32, tokenizer.json) unless it is there.

    Raises:
        CheckpointError: the file is cut short, damaged, or of an architecture that transformers cannot read.
    """
    if (out / "config.json").exists():
        return out
    with _read_once():
        _require_whole(path)
        model, tokenizer = _load(path)
    with quiet(), staging(out, "config.json") as stage:
        model.save_pretrained(stage, max_shard_size="1TB")
        tokenizer.save_pretrained(stage)
    return out


def _require_whole(path: Path) -> None:
    import gguf

    try:
        reader = gguf.GGUFReader(path)
    except Exception as error:  # the reader indexes into the file and raises whatever a cut or forged one provokes
        raise CheckpointError(
            f"{path}: damaged or cut short",
            found=f"{path.stat().st_size} bytes; {type(error).__name__}: {error}",
            action="download the file again and compare its checksum",
        ) from error
    end = max((int(tensor.data_offset + tensor.n_bytes) for tensor in reader.tensors), default=0)
    if end > path.stat().st_size:
        raise CheckpointError(
            f"{path}: cut short",
            found=f"{path.stat().st_size} bytes",
            expected=f"{end} bytes",
            action="download the file again",
        )


def _load(path: Path):  # type: ignore[no-untyped-def]
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                quantization_config=GgufConfig(gguf_file=path.name, dequantize=True),
                dtype=torch.float32,
            )
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:  # transformers' GGUF conversion raises many kinds
        raise CheckpointError(
            f"{path}: transformers cannot read this GGUF",
            found=(str(error).strip() or type(error).__name__).splitlines()[0],
            action="use the original checkpoint folder instead",
        ) from error
    return model, tokenizer


@contextmanager
def _read_once() -> Iterator[None]:
    """transformers parses the file anew for configuration, weights and tokenizer, 5 s each; parse it once."""
    import gguf

    original = gguf.GGUFReader
    parse = functools.lru_cache(maxsize=1)(original)
    gguf.GGUFReader = lambda path, *args: parse(str(path), *args)
    try:
        yield
    finally:
        gguf.GGUFReader = original

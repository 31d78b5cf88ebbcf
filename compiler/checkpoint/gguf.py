"""GGUF -> a folder of float32 safetensors with its tokenizer, written once per file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from compiler.cache import intact, seal
from compiler.checkpoint.adapter import ORIGIN
from compiler.checkpoint.gguf_config import complete
from compiler.checkpoint.gguf_header import damaged, require_plausible, require_whole
from compiler.checkpoint.gguf_keys import NOTES, require_known
from compiler.checkpoint.gguf_rope import TABLES, scaled
from compiler.checkpoint.gguf_tokenizer import require_kept, settle
from compiler.checkpoint.quiet import quiet
from compiler.errors import CheckpointError
from compiler.reading import foreign
from compiler.storage import staging

LONGEST = 64  # entries of a list that are read


def materialize(path: Path, out: Path, still: Callable[[], None]) -> Path:
    """Dequantize `path` into `out` (config.json, model.safetensors float32, tokenizer.json) unless it is there.

    `still` raises where the file has changed.

    Raises:
        CheckpointError: the file is cut short, damaged, of an architecture that transformers cannot read, or holds keys
            or tensors that would be left out.
    """
    if intact(out):
        return out
    subject = f"{path}: this GGUF cannot be converted"
    with foreign(CheckpointError, subject):
        model, tokenizer, notes = _converted(path)
    with quiet(), staging(out, "config.json") as stage:
        with foreign(CheckpointError, subject, but=(OSError,)):
            model.save_pretrained(stage, max_shard_size="1TB")
            tokenizer.save_pretrained(stage)
            require_kept(path, stage, tokenizer)
        (stage / ORIGIN).write_text(str(path), encoding="utf-8")
        (stage / NOTES).write_text(json.dumps(notes), encoding="utf-8")
        still()
        seal(stage)
    return out


def _converted(path: Path) -> tuple[Any, Any, list[str]]:
    """Model and tokenizer that do what the file says, and its keys that nothing reads."""
    with read_once() as read:
        reader, metadata = vetted(path, read)
        model, tokenizer = _load(path, metadata)
    factors = {each.name: np.array(each.data) for each in reader.tensors if each.name in TABLES}
    notes = require_known(path, metadata, model.config)
    if rope := getattr(model.config, "rope_parameters", None):
        model.config.rope_parameters = scaled(path, metadata, factors, rope)
    elif factors or any(".rope.scaling." in key for key in metadata):
        raise CheckpointError(
            f"{path}: rope scaling of a model without rotary positions", found=model.config.model_type
        )
    _require_tensors(path, reader, model)
    settle(path, metadata, tokenizer)
    _end(model, metadata)
    return model, tokenizer, notes


def vetted(path: Path, read: Callable[[Path], Any]) -> tuple[Any, dict[str, Any]]:
    """What the library reads of a file that is whole and asks for nothing absurd, and its keys.

    Raises:
        CheckpointError: it is cut short or damaged, or its keys and tensors do not belong together.
    """
    require_whole(path)
    try:
        reader = read(path)
        metadata = metadata_of(reader)
        own = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("tokenizer.")}
        require_plausible(path, own, [each.shape for each in reader.tensors])
    except CheckpointError:
        raise
    except Exception as error:  # the reader indexes into the file and raises whatever a cut or forged one provokes
        raise damaged(path, f"{path.stat().st_size} bytes; {type(error).__name__}: {error}") from error
    end = max((int(tensor.data_offset + tensor.n_bytes) for tensor in reader.tensors), default=0)
    if end > path.stat().st_size:
        raise CheckpointError(
            f"{path}: cut short",
            found=f"{path.stat().st_size} bytes",
            expected=f"{end} bytes",
            action="download the file again",
        )
    return reader, metadata


def metadata_of(reader: Any) -> dict[str, Any]:
    """A file's keys; of long lists, such as the vocabulary, the number of entries."""
    return {
        key: len(field.data) if len(field.data) > LONGEST else field.contents() for key, field in reader.fields.items()
    }


def _require_tensors(path: Path, reader: Any, model: Any) -> None:
    """Every number of the file is in the model, and the model has no others."""
    from transformers.modeling_gguf_pytorch_utils import TensorProcessor, get_gguf_hf_weights_map

    stored = {each.name: int(each.n_elements) for each in reader.tensors if each.name not in TABLES}
    if sum(stored.values()) == sum(parameter.numel() for parameter in model.parameters()):
        return
    try:
        known = get_gguf_hf_weights_map(model, TensorProcessor())
        strangers = sorted(name for name in stored if name not in known)
    except Exception:  # noqa: BLE001 - it serves the message only, and not every architecture
        strangers = []
    raise CheckpointError(
        f"{path}: the tensors of this GGUF are not those of the model",
        found=f"{len(strangers)} without a place: {', '.join(strangers[:3])}"
        if strangers
        else f"{sum(stored.values())} numbers",
        expected=f"{sum(parameter.numel() for parameter in model.parameters())} numbers of {type(model).__name__}",
        action="use the original checkpoint folder instead",
    )


def _end(model: Any, metadata: dict[str, Any]) -> None:
    """A turn or a message that ends also ends an answer, as it does for llama.cpp."""
    ends = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    found = list(dict.fromkeys(each for each in ends if each is not None))
    if len(found) > 1:
        model.generation_config.eos_token_id = found


def _load(path: Path, metadata: dict[str, Any]):  # type: ignore[no-untyped-def]
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        with quiet(), alone(path) as folder:
            config = AutoConfig.from_pretrained(folder, gguf_file=path.name)
            complete(path, metadata, config)
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                gguf_file=path.name,
                quantization_config=GgufConfig(gguf_file=path.name, dequantize=True),
                dtype=torch.float32,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=path.name)
    except CheckpointError:
        raise
    except Exception as error:  # transformers' GGUF conversion raises many kinds
        raise CheckpointError(
            f"{path}: transformers cannot read this GGUF",
            found=(str(error).strip() or type(error).__name__).splitlines()[0],
            action="use the original checkpoint folder instead",
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{path}: tensors missing in this GGUF", found=f"{len(missing)}: {', '.join(missing[:3])}"
        )
    return model, tokenizer


@contextmanager
def alone(path: Path) -> Iterator[Path]:
    """A folder with nothing in it but this file: transformers takes a tokenizer.json beside one for the file's own."""
    with TemporaryDirectory(prefix="gguf-") as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        yield Path(folder)


@contextmanager
def read_once() -> Iterator[Callable[[Path], Any]]:
    """transformers parses the file anew for configuration, weights and tokenizer, 5 s each; parse it once."""
    import gguf

    original = gguf.GGUFReader
    parse = functools.lru_cache(maxsize=1)(original)
    gguf.GGUFReader = lambda path, *args: parse(str(Path(path).resolve()), *args)
    try:
        yield lambda path: parse(str(path.resolve()))
    finally:
        gguf.GGUFReader = original

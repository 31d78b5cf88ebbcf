"""config.json: read, and refused by name where it describes weights that cannot be compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from compiler.checkpoint.sane import parts, require_sane
from compiler.errors import CheckpointError
from compiler.folders import look
from compiler.reading import read_json

ADAPTER = "adapter_config.json"
QUANTIZATION = ("quantization_config", "compression_config")  # in config.json or in a part of it
QUANTIZED = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")  # files beside it

ELSEWHERE = {  # entries by which transformers reads other files, and what is read here
    "transformers_weights": "weights in model.safetensors, or in shards with an index",
    "configuration_files": "all settings in config.json, not in another file for some versions of transformers",
}


class _Kind(msgspec.Struct):
    """The two entries that choose the class."""

    model_type: str
    architectures: list[str] | None = None


def configuration(folder: Path, model: str) -> dict[str, Any]:
    """config.json of a checkpoint with float weights of its own.

    Args:
        model: the checkpoint as its user named it.

    Raises:
        CheckpointError: there is none, it is no configuration, the folder is an adapter's, or weights are quantized.
    """
    path = folder / "config.json"
    _require_no_adapter(folder, model, whole=path.exists())
    if not path.exists():
        seen = look(folder)
        raise CheckpointError(
            f"{model}: no config.json",
            found=seen.words,
            expected="a Hugging Face model folder: config.json, model.safetensors, tokenizer.json",
            action=seen.action if seen.kind else "save it with save_pretrained of transformers",
        )
    config = read_json(path, dict[str, Any], CheckpointError)
    try:
        msgspec.convert(config, _Kind)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{path}: not a model configuration", found=str(error)) from error
    for entry, expected in ELSEWHERE.items():
        if named := config.get(entry):
            raise CheckpointError(
                f'{path}: "{entry}" is not supported',
                found=str(named)[:80],
                expected=expected,
            )
    _require_floats(config, folder, model)
    require_sane(config, model)
    return config


def listing(folder: Path) -> str:
    """The first names in a folder, for an error."""
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "an empty folder"


def _require_no_adapter(folder: Path, model: str, *, whole: bool) -> None:
    path = folder / ADAPTER
    if not path.exists():
        return
    base = read_json(path, dict[str, Any], CheckpointError).get("base_model_name_or_path")
    named = base if isinstance(base, str) and base else "BASE"
    if whole:  # transformers would load the base that the adapter names in place of these weights
        raise CheckpointError(
            f"{model}: a model and an adapter in one folder",
            found=f"config.json and {ADAPTER}",
            expected="one of them",
            action=f"move the adapter's files to a folder of their own and pass it with --adapter, or remove {ADAPTER}",
        )
    raise CheckpointError(
        f"{model}: an adapter, not a model",
        found=f"{ADAPTER}" + (f', trained on "{base}"' if named == base else ""),
        expected="the model that it was trained on, and the adapter beside it",
        action=f"compile build {named} --adapter {model}",
    )


def _require_floats(config: dict[str, Any], folder: Path, model: str) -> None:
    """Refuse weights that a method quantized, by the method's name."""
    stated = [part[name] for part in parts(config) for name in QUANTIZATION if part.get(name)]
    beside = [name for name in QUANTIZED if (folder / name).exists()]
    if not stated and not beside:
        return
    if stated:
        method, where = _method(stated[0]), "config.json"
    else:
        where = beside[0]
        content = read_json(folder / where, dict[str, Any], CheckpointError)
        method = _method({"quant_method": "gptq", **content} if where == "quantize_config.json" else content)
    raise CheckpointError(
        f"{model}: the weights are quantized with {method}",
        found=f"its settings in {where}",
        expected="weights in float32, float16 or bfloat16",
        action="use the original that it was quantized from; --precision quantizes it",
    )


def _method(settings: Any) -> str:
    if not isinstance(settings, dict):
        return f"an unknown method ({str(settings)[:40]})"
    inner = settings.get("quantization")
    places = [settings, inner] if isinstance(inner, dict) else [settings]
    names = ("quant_method", "quant_algo", "quantization_method", "format", "w_bit")
    found = [str(place[name])[:60] for place in places for name in names if place.get(name)]
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        found = [*found[:1], "bitsandbytes"] if found and found[0] != "bitsandbytes" else ["bitsandbytes"]
    return " ".join(found[:2]) if found else "an unnamed method"

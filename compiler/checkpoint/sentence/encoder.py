"""A sentence encoder: how its modules make one vector of a text's token vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from compiler import pooling as vectors
from compiler.checkpoint.sentence.listing import LIST, Listed, modules, read_module
from compiler.checkpoint.sentence.settings import (
    ABOUT,
    TRANSFORMER,
    max_length,
    messages,
    model_settings,
    require_plain,
)
from compiler.checkpoint.weights import check_safetensors, shapes
from compiler.errors import CheckpointError, IntegrityError
from compiler.records import Activation, Dense, LayerNorm, Module, Normalize, Pooling, PoolingMode, Truncate

VECTOR = "sentence_embedding"
WEIGHTS = "model.safetensors"
MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)  # in the order in which the flags below are joined
FLAGS: dict[str, PoolingMode] = {
    f"pooling_mode_{mode}" if mode == "lasttoken" else f"pooling_mode_{mode}_tokens": mode
    for mode in MODES
    if mode not in ("cls", "mean_sqrt_len_tokens")
} | {"pooling_mode_cls_token": "cls", "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens"}


class _Pooling(msgspec.Struct, forbid_unknown_fields=True):
    """In the form before 5.4 and in that since."""

    embedding_dimension: int | None = None
    word_embedding_dimension: int | None = None
    include_prompt: bool = True
    pooling_mode: str | list[str] | None = None
    pooling_mode_cls_token: bool | None = None
    pooling_mode_max_tokens: bool | None = None
    pooling_mode_mean_tokens: bool | None = None
    pooling_mode_mean_sqrt_len_tokens: bool | None = None
    pooling_mode_weightedmean_tokens: bool | None = None
    pooling_mode_lasttoken: bool | None = None


class _Dense(msgspec.Struct, forbid_unknown_fields=True):
    in_features: int
    out_features: int
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    module_input_name: str = VECTOR
    module_output_name: str | None = None
    use_residual: bool = False


class _LayerNorm(msgspec.Struct, forbid_unknown_fields=True):
    dimension: int


class _Normalize(msgspec.Struct, forbid_unknown_fields=True):
    module_input_name: str = VECTOR
    module_output_name: str | None = None


class _Dropout(msgspec.Struct, forbid_unknown_fields=True):
    """Does nothing once a model is trained."""

    dropout: float = 0.2


def pooling(folder: Path) -> Pooling:
    """How the checkpoint makes one vector of a text; the mean, as it is, where it lists no modules.

    Raises:
        CheckpointError: files are missing or damaged, or ask for what the runtime does not do; names it.
    """
    listed = modules(folder)
    if not (folder / LIST).exists():
        _require_nothing_left(folder)
        return Pooling()
    kinds = [module.kind for module in listed]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise CheckpointError(
            f"{folder / LIST}: these modules are not supported",
            found=", ".join(kinds) or "none",
            expected="Transformer, Pooling, then any of Dense, LayerNorm, Normalize and Dropout",
        )
    text = require_plain(folder, "feature-extraction", ("last_hidden_state", "token_embeddings"))
    about = model_settings(folder)
    if about.model_type not in (None, "SentenceTransformer"):
        raise CheckpointError(f"{folder / ABOUT}: not a sentence encoder", found=about.model_type)
    if about.activation_fn is not None:
        raise CheckpointError(f"{folder / ABOUT}: activation_fn is not supported", found=about.activation_fn)
    default = about.default_prompt_name
    prompts = {name: prompt or "" for name, prompt in about.prompts.items()}
    if default is not None and default not in {*prompts, "query", "document"}:  # the library has these two, empty
        raise CheckpointError(
            f"{folder / ABOUT}: the default prompt is missing", found=default, expected=", ".join(about.prompts)
        )
    declared: _Pooling = read_module(listed[1], _Pooling)
    made = [module for each in listed[2:] for module in _made(each)]
    if about.truncate_dim is not None:
        if about.truncate_dim < 1:
            raise CheckpointError(
                f"{folder / ABOUT}: truncate_dim", found=str(about.truncate_dim), expected="1 or more"
            )
        made.append(Truncate(width=about.truncate_dim))
    return Pooling(
        modes=_modes(listed[1], declared),
        modules=tuple(made),
        include_prompt=declared.include_prompt,
        max_length=max_length(text),
        prompts=prompts,
        default_prompt=default,
        messages=messages(folder),
    )


def check_width(pooling: Pooling, hidden: int | str, location: str) -> None:
    """Refuse modules that do not fit a model whose token vectors are so wide. Raises CheckpointError."""
    try:
        vectors.width(pooling, int(hidden))
    except IntegrityError as error:
        raise CheckpointError(
            f"{location}: the modules do not fit the model", found=error.found, expected=error.expected
        ) from error


def write_weights(folder: Path, pooling: Pooling, out: Path) -> None:
    """Put the weights of the modules, if they have any, into one file in `out`, as `Pooling` says.

    Raises:
        CheckpointError: they are not finite.
    """
    if not pooling.shapes:
        return
    import torch
    from safetensors.torch import load_file

    with (out / vectors.FILE).open("wb") as file:
        for module in modules(folder)[2:]:
            for made in _made(module):
                stored = load_file(module.folder / WEIGHTS) if made.shapes else {}
                for name in made.shapes:
                    tensor = stored[name].to(torch.float32)
                    if not bool(torch.isfinite(tensor).all()):
                        raise CheckpointError(
                            f"{module.folder}: weights are not finite",
                            found=f"NaN or Inf in {name} {tuple(tensor.shape)}",
                            action="this checkpoint is damaged or its training diverged; use an earlier one",
                        )
                    file.write(tensor.contiguous().numpy().astype("<f4").tobytes())


def _require_nothing_left(folder: Path) -> None:
    """Refuse what is left of a sentence encoder without its list of modules."""
    names = (ABOUT, *TRANSFORMER)
    left = [name for name in names if (folder / name).exists()]
    left += sorted(str(path.relative_to(folder)) for path in folder.glob("*_Pooling/config.json"))
    if left:
        raise CheckpointError(
            f"{folder}: a sentence encoder without its list of modules",
            found=f"{', '.join(left)}, but no {LIST}",
            action="download the whole checkpoint, or remove these files for the plain mean",
        )


def _modes(module: Listed, declared: _Pooling) -> tuple[PoolingMode, ...]:
    def refuse(found: Sequence[str]) -> CheckpointError:
        expected = "one or several of " + ", ".join(MODES)
        return CheckpointError(
            f"{module.folder}: this pooling is not supported", found=", ".join(found) or "none", expected=expected
        )

    if declared.pooling_mode is not None:
        given = [declared.pooling_mode] if isinstance(declared.pooling_mode, str) else declared.pooling_mode
        modes: list[PoolingMode] = [mode for name in given for mode in MODES if mode == name]
        if not 0 < len(given) == len(modes) == len(set(modes)):
            raise refuse(given)
        return tuple(modes)
    flags: dict[str, bool | None] = {name: getattr(declared, name) for name in FLAGS}
    stated = {name for name, on in flags.items() if on is not None}
    if stated and "pooling_mode_mean_tokens" not in stated and any(flags.values()):
        raise CheckpointError(  # true for the versions before 5.4, false for those since
            f"{module.folder}: the pooling is not clear",
            found=", ".join(name for name, on in flags.items() if on),
            expected="pooling_mode_mean_tokens beside it, true or false",
        )
    on = [mode for mode in MODES for name in FLAGS if FLAGS[name] == mode and flags[name]]
    if stated and not on:
        raise refuse([])
    return tuple(on) or ("mean",)


def _made(module: Listed) -> list[Module]:
    """What the module does; nothing for a dropout."""
    made: Module
    match module.kind:
        case "Dropout":
            if (module.folder / "config.json").exists():
                read_module(module, _Dropout)
            return []
        case "Normalize":
            named = read_module(module, _Normalize) if (module.folder / "config.json").exists() else _Normalize()
            _require_vector(module, named)
            made = Normalize()
        case "LayerNorm":
            made = LayerNorm(width=read_module(module, _LayerNorm).dimension)
        case "Dense":
            made = _dense(module, read_module(module, _Dense))
        case _:
            raise CheckpointError(
                f"{module.folder}: the module {module.kind} is not supported",
                expected="Dense, LayerNorm, Normalize or Dropout behind the pooling",
            )
    if made.shapes:
        _require_shapes(module, made.shapes)
    return [made]


def _dense(module: Listed, declared: _Dense) -> Dense:
    _require_vector(module, declared)
    package, _, name = declared.activation_function.rpartition(".")
    known: dict[str, Activation] = {each: each for each in get_args(Activation)}
    if package.split(".")[:2] != ["torch", "nn"] or name not in known:
        raise CheckpointError(
            f"{module.folder}: this activation is not supported",
            found=declared.activation_function,
            expected="torch.nn: " + ", ".join(known),
        )
    return Dense(
        inputs=declared.in_features,
        outputs=declared.out_features,
        bias=declared.bias,
        activation=known[name],
        residual=declared.use_residual,
    )


def _require_vector(module: Listed, named: Any) -> None:
    names = (named.module_input_name, named.module_output_name or named.module_input_name)
    if names != (VECTOR, VECTOR):
        raise CheckpointError(
            f"{module.folder}: {module.kind} works on something else", found=" to ".join(names), expected=VECTOR
        )


def _require_shapes(module: Listed, expected: dict[str, tuple[int, ...]]) -> None:
    path = module.folder / WEIGHTS
    if not path.exists():
        raise CheckpointError(
            f"{module.folder}: the weights of {module.kind} are missing",
            expected=WEIGHTS,
            action="download the whole checkpoint",
        )
    check_safetensors(path)
    if (found := shapes(path)) != expected:
        raise CheckpointError(
            f"{path}: not the weights of this {module.kind}", found=str(found), expected=str(expected)
        )

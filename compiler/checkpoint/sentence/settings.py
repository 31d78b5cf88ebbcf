"""The settings of a whole model (config_sentence_transformers.json) and of its Transformer (sentence_bert_config.json).

The structures name every key that sentence-transformers 2 to 6.2 writes; a file with another key is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from compiler.errors import CheckpointError
from compiler.reading import read_json
from compiler.records import Messages

ABOUT = "config_sentence_transformers.json"

# The first that is there counts; classes of long ago had names of their own.
TRANSFORMER = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

# Arguments of from_pretrained that a checkpoint may ask for and that leave the answers in float32 as they are.
HARMLESS = {
    "model": {
        *("trust_remote_code", "torch_dtype", "dtype", "attn_implementation", "device_map", "low_cpu_mem_usage"),
        *("use_safetensors", "add_pooling_layer"),
    },
    "tokenizer": {"trust_remote_code", "use_fast", "padding_side", "model_max_length"},  # the last one is used
    "config": {"trust_remote_code", "use_cache", "torch_dtype", "dtype"},
}


# Arguments of transformers' apply_chat_template that are no variables of the template, and the template's own.
RESERVED = frozenset({
    "messages", "conversation", "tools", "documents", "chat_template", "continue_final_message", "tokenize",
    "sanitize_control_tokens", "padding", "truncation", "max_length", "return_tensors", "return_dict",
    "return_assistant_tokens_mask", "tokenizer_kwargs", "processor_kwargs", "common_kwargs", "pad_to_multiple_of",
    "truncation_side", "padding_side", "task",
})  # fmt: skip


class ModelSettings(msgspec.Struct, forbid_unknown_fields=True):
    """`similarity_fn_name` says how vectors are compared; `keep_in_fp32_modules` what is in float32 anyway."""

    version: Any = msgspec.field(name="__version__", default=None)
    model_type: str | None = None
    prompts: dict[str, str | None] = {}
    default_prompt_name: str | None = None
    similarity_fn_name: str | None = None
    truncate_dim: int | None = None
    activation_fn: str | None = None
    keep_in_fp32_modules: list[str] | None = None
    requirements: Any = None


class TransformerSettings(msgspec.Struct, forbid_unknown_fields=True):
    """Whether texts are packed without padding (`unpad_inputs`) changes no answer."""

    max_seq_length: int | None = None
    do_lower_case: bool | None = False
    transformer_task: str = "feature-extraction"
    modality_config: dict[str, dict[str, Any]] | None = None
    module_output_name: str | None = None
    processing_kwargs: dict[str, dict[str, Any]] | None = None
    unpad_inputs: bool | None = None
    query_length: int | None = None
    document_length: int | None = None
    query_expansion: dict[str, Any] | None = None
    tokenizer_name_or_path: str | None = None
    model_args: dict[str, Any] | None = None
    model_kwargs: dict[str, Any] | None = None
    tokenizer_args: dict[str, Any] | None = None
    processor_kwargs: dict[str, Any] | None = None
    config_args: dict[str, Any] | None = None
    config_kwargs: dict[str, Any] | None = None


def model_settings(folder: Path) -> ModelSettings:
    """The model's settings, or those of a model that has none. Raises CheckpointError."""
    path = folder / ABOUT
    return read_json(path, ModelSettings, CheckpointError) if path.exists() else ModelSettings()


def transformer_settings(folder: Path) -> TransformerSettings:
    """The Transformer's settings, or those of one that has none. Raises CheckpointError."""
    path = _path(folder)
    return read_json(path, TransformerSettings, CheckpointError) if path.exists() else TransformerSettings()


def require_plain(folder: Path, task: str, outputs: tuple[str, str]) -> TransformerSettings:
    """The Transformer's settings, if it reads texts as they are and gives what the task needs.

    Args:
        task: what `transformer_task` must be.
        outputs: what it takes of the model, and as what it hands that on.

    Raises:
        CheckpointError: it does anything else; names what.
    """
    path, found = _path(folder), transformer_settings(folder)

    def refuse(key: str, value: object, expected: str = "") -> CheckpointError:
        return CheckpointError(f"{path}: {key} is not supported", found=repr(value), expected=expected)

    if found.transformer_task != task:
        raise refuse("transformer_task", found.transformer_task, task)
    modalities = found.modality_config
    if modalities is not None:
        plain = {"method": "forward", "method_output_name": outputs[0]}
        if "message" in modalities and task != "feature-extraction":  # texts would become messages in the chat template
            raise refuse('modality "message"', modalities["message"], "texts as they are")
        if modalities.get("text") != plain or found.module_output_name != outputs[1]:
            raise refuse("modality_config", (modalities, found.module_output_name), f"{plain} as {outputs[1]}")
    if found.processing_kwargs and not (modalities and "message" in modalities):
        raise refuse("processing_kwargs", found.processing_kwargs)
    for key in ("query_length", "document_length", "query_expansion", "tokenizer_name_or_path"):
        if value := getattr(found, key):
            raise refuse(key, value)
    for harmless, keys in zip(
        HARMLESS.values(),
        (("model_args", "model_kwargs"), ("tokenizer_args", "processor_kwargs"), ("config_args", "config_kwargs")),
        strict=True,
    ):
        for key in keys:
            if strange := {name: value for name, value in (getattr(found, key) or {}).items() if name not in harmless}:
                raise refuse(key, strange)
    length = max_length(found)
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise refuse("max_seq_length", length, "a number of tokens")
    return found


def messages(folder: Path) -> Messages | None:
    """How texts become chat messages, where they do: wherever the checkpoint lists such a modality.

    Raises:
        CheckpointError: it asks for more than a template can be shown, or there is no template.
    """
    path, found = _path(folder), transformer_settings(folder)
    entry = (found.modality_config or {}).get("message")
    if entry is None:
        return None
    given = dict(found.processing_kwargs or {})
    variables = dict(given.pop("chat_template", {}))
    restores = variables.pop("restore_suffix", True)
    layout = entry.get("format")
    plain = entry == {"method": "forward", "method_output_name": "last_hidden_state", "format": layout}
    switches = {"restore_suffix": restores, "add_generation_prompt": variables.get("add_generation_prompt", False)}
    if not plain or layout not in ("flat", "structured"):
        raise CheckpointError(f'{path}: modality "message" is not supported', found=repr(entry)[:80])
    if given or any(not isinstance(value, bool) for value in switches.values()):
        raise CheckpointError(f"{path}: processing_kwargs is not supported", found=repr(given or switches)[:80])
    if reserved := variables.keys() & RESERVED:
        raise CheckpointError(f"{path}: processing_kwargs is not supported", found=", ".join(sorted(reserved)))
    tokenizer = folder / "tokenizer_config.json"
    declared = read_json(tokenizer, dict[str, Any], CheckpointError) if tokenizer.exists() else {}
    if not (folder / "chat_template.jinja").exists() and not declared.get("chat_template"):
        raise CheckpointError(f"{folder}: texts are chat messages, but there is no chat template")
    return Messages(layout=layout, variables=variables, restores=restores)


def max_length(settings: TransformerSettings) -> int | None:
    """Tokens after which a text is cut, or None where the tokenizer says that."""
    for arguments in (settings.processor_kwargs, settings.tokenizer_args):
        if arguments and (found := arguments.get("model_max_length")) is not None:
            return found  # type: ignore[no-any-return]
    return settings.max_seq_length


def fit_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Let a fast tokenizer (transformers) write small letters and cut where the checkpoint says so.

    As the library does since 5.4: by a normalizer in front of the others, so special tokens stay as they are.
    """
    from tokenizers.normalizers import Lowercase, Sequence

    settings = transformer_settings(folder)
    if (length := max_length(settings)) is not None:
        tokenizer.model_max_length = length
    if settings.do_lower_case:
        fast = tokenizer.backend_tokenizer
        fast.normalizer = Sequence([Lowercase(), *([fast.normalizer] if fast.normalizer else [])])


def _path(folder: Path) -> Path:
    return next((folder / name for name in TRANSFORMER if (folder / name).exists()), folder / TRANSFORMER[0])

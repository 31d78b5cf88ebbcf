"""What a bundle has of its checkpoint beside the graph: configuration, tokenizer, chat templates, settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.checkpoint import Checkpoint, sentence
from compiler.errors import CheckpointError, ExportError
from compiler.generation import FOLLOWED, IDLE, REFUSED, read, require_tokens
from compiler.reading import read_json
from compiler.tasks import TASKS

GENERATION = "generation_config.json"
CARRIED = ("config.json", "special_tokens_map.json")


def carry(checkpoint: Checkpoint, model: Any, tokenizer: Any, out: Path) -> int:
    """Write configuration, tokenizer and chat templates into `out`; gives the vocabulary's size.

    Raises:
        CheckpointError: the tokenizer cannot be loaded or does not fit the model, or a setting of generation that would
            change answers is not supported.
        ExportError: see `rows`.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(
            f"{checkpoint.location}: this tokenizer has no tokenizer.json form",
            found=type(tokenizer).__name__,
            action="use a checkpoint with a fast tokenizer",
        )
    known = rows(model)
    last, number = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    if number >= known:
        raise CheckpointError(
            f"{checkpoint.location}: tokenizer and model do not belong together",
            found=f"token {number} ({last!r}) in the tokenizer, {known} rows in the embedding",
            expected="a row for every token",
            action="use the tokenizer that the model was trained with",
        )
    kind = TASKS[checkpoint.task].kind
    if kind != "encoder":
        settings = declared(checkpoint, model)
        if kind == "encoder-decoder":
            require_start(settings, model.config, checkpoint.location)
        followed = read(settings, CheckpointError, checkpoint.location)
        if kind == "encoder-decoder" and followed.guidance_scale not in (None, 1):  # transformers' own fails
            raise CheckpointError(
                f"{checkpoint.location}: the setting guidance_scale is not supported for {checkpoint.task}",
                found=f"guidance_scale = {followed.guidance_scale}",
                action="remove guidance_scale from generation_config.json if answers without it will do",
            )
        require_tokens(
            followed,
            rows_of_logits(model, known),
            CheckpointError,
            checkpoint.location,
        )
        (out / GENERATION).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    if sentence.task_of(checkpoint.folder) == checkpoint.task:
        sentence.fit_tokenizer(tokenizer, checkpoint.folder)
    # Several chat templates stay in one file, as a list: names of theirs become no paths.
    tokenizer.save_pretrained(out, save_jinja_files=not isinstance(tokenizer.chat_template, dict))
    model.config.save_pretrained(out)
    for name in CARRIED:
        if (checkpoint.folder / name).exists() and not (out / name).exists():
            shutil.copyfile(checkpoint.folder / name, out / name)
    kept = {*CARRIED, GENERATION, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    for path in out.iterdir():
        if path.name not in kept:
            path.unlink()
    config = read_json(out / "tokenizer_config.json", dict[str, Any], CheckpointError)
    config.pop("name_or_path", None)
    for name in ("padding_side", "model_input_names"):  # transformers leaves a class' own out
        config[name] = getattr(tokenizer, name)
    # Tokens with names of their own, which chat templates may know.
    config |= {name: token for name, token in tokenizer.special_tokens_map.items() if name not in config}
    (out / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return int(number) + 1


def declared(checkpoint: Checkpoint, model: Any) -> dict[str, Any]:
    """The settings of generation that transformers would use: generation_config.json's, or else config.json's own.

    Raises:
        CheckpointError: generation_config.json cannot be read (transformers would go on with config.json).
    """
    if (path := checkpoint.folder / GENERATION).exists():
        read_json(path, dict[str, Any], CheckpointError)
    settings = model.generation_config.to_dict() if model.can_generate() else {}
    known = FOLLOWED | REFUSED.keys() | IDLE
    return {name: settings[name] for name in sorted(known & settings.keys()) if settings[name] is not None}


def require_start(settings: Mapping[str, Any], config: Any, model: str) -> None:
    """Raises CheckpointError where no token, or more than one, is what answers of an encoder-decoder begin with."""
    named = (settings.get("decoder_start_token_id"), getattr(config, "decoder_start_token_id", None))
    several = [token for token in named if isinstance(token, list) and len(token) != 1]
    if several:  # transformers takes one for each row of a batch
        raise CheckpointError(
            f"{model}: several tokens that an answer begins with",
            found=f"decoder_start_token_id = {several[0]!r:.60}",
            expected="one token",
            action="name the one to begin with in generation_config.json",
        )
    if all(token is None for token in (*named, settings.get("bos_token_id"))):
        raise CheckpointError(
            f"{model}: the checkpoint does not say which token an answer begins with",
            expected="decoder_start_token_id or bos_token_id in generation_config.json",
            action="add the decoder_start_token_id that the model was trained with to generation_config.json",
        )


def rows(model: Any) -> int:
    """The number of tokens that a model knows, or a decoder that has no method to say which its table is (FSMT).

    Raises:
        ExportError: it has no such table. CANINE hashes characters, Perceiver's own table is of its latents.
    """
    try:
        table = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else model.embed_tokens
    except NotImplementedError:
        table = None
    weight = getattr(table, "weight", None)
    if weight is None:
        raise ExportError(
            f"{type(model).__name__} reads no tokens by a table of embeddings",
            found="none" if table is None else type(table).__name__,
            expected="a model with a row for every token of its tokenizer",
            action="choose a model of a family that docs/families.md lists",
        )
    return int(weight.shape[0])


def rows_of_logits(model: Any, rows: int) -> int:
    """The number of tokens that have a logit; seldom another one than the embedding's `rows`."""
    head = model.get_output_embeddings()
    return int(head.weight.shape[0]) if getattr(head, "weight", None) is not None else rows

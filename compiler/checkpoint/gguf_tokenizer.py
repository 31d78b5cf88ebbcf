"""A GGUF file's tokenizer does what the file says, beyond what transformers makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.checkpoint.load import load_tokenizer
from compiler.errors import CheckpointError

PLAIN = frozenset({"default", "gpt-2", "gpt2"})
DIGITS = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell"})  # each digit is a piece of its own
# Those for which llama.cpp begins a text with a mark unless the file says otherwise, and takes a piece that is a token
# without merging it. transformers does neither.
WHOLE = frozenset({"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken"})

# SentencePiece vocabularies for which transformers has a class that puts no space in front of a text.
GEMMA = frozenset({"gemma", "gemma2", "gemma3"})
SPACE = "\u2581"
TEXTS = ("", "the cat", "  Two spaces\n\nand lines\t", "It's 12345.67!", "naïve 漢字 😀 def f(x):\n    return x")


def settle(path: Path, metadata: Mapping[str, Any], tokenizer: Any) -> None:
    """Split texts as `tokenizer.ggml.pre` says, and refuse a tokenizer that puts other marks around them.

    Args:
        path: the file, for messages.
        metadata: the file's keys.
        tokenizer: transformers' tokenizer as it converted it; changed in place.

    Raises:
        CheckpointError: it names the key.
    """
    from tokenizers import normalizers, pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    prefix = "tokenizer.ggml."
    stated = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    split = stated.get("pre", "default")
    _drop_strangers(tokenizer, stated.get("tokens"))
    if stated.get("model") == "gpt2" and split in DIGITS:
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), byte_level]
        )
    elif stated.get("model") == "gpt2" and split not in PLAIN and split not in GGUF_PRE_TOKENIZER_SPLITS:
        raise _unsupported(path, "pre", split, "a way of splitting texts that transformers knows")
    if stated.get("model") == "gpt2" and split in WHOLE:
        tokenizer.backend_tokenizer.model.ignore_merges = True
        if "add_bos_token" not in stated and stated.get("bos_token_id") is not None:
            stated["add_bos_token"] = tokenizer.add_bos_token = True
            tokenizer.update_post_processor()
    if stated.get("model") == "llama" and metadata["general.architecture"] not in GEMMA:
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([
            *([normalizers.Prepend(SPACE)] if stated.get("add_space_prefix", True) else []),
            normalizers.Replace(" ", SPACE),
        ])  # fmt: skip
        tokenizer.backend_tokenizer.pre_tokenizer = None
    _templates(metadata, tokenizer)
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    framed = tokenizer("a")["input_ids"]
    does = {
        "add_bos_token": bool(framed) and framed[0] == stated.get("bos_token_id"),
        "add_eos_token": bool(framed) and framed[-1] == stated.get("eos_token_id"),
        "add_space_prefix": tokenizer.convert_ids_to_tokens(plain)[0][:1] in (SPACE, "\u0120"),
    }
    for name, done in does.items():
        if name in stated and bool(stated[name]) != done:
            raise _unsupported(path, name, stated[name], str(done))


def _drop_strangers(tokenizer: Any, tokens: Any) -> None:
    """Take out the tokens that transformers' class has by default and the file has not, such as "<|endoftext|>".

    `tokens`: the file's, or how many they are.
    """
    from tokenizers import Tokenizer

    count = tokens if isinstance(tokens, int) else len(tokens or ())
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    known = [token for token in state["added_tokens"] if token["id"] < count]
    if known != state["added_tokens"]:
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps({**state, "added_tokens": known}))


def require_kept(path: Path, folder: Path, tokenizer: Any) -> None:
    """Refuse a tokenizer that is another one once it is saved: a class of transformers' that goes by the model's name.

    Args:
        path: the file, for messages.
        folder: where it was saved.
        tokenizer: the one that was saved.
    """
    expected: Any = "a tokenizer that reads every text"
    try:
        expected = [tokenizer(text)["input_ids"] for text in TEXTS]
        kept = load_tokenizer(folder)
        found: Any = [kept(text)["input_ids"] for text in TEXTS]
    except Exception as error:  # noqa: BLE001 - the tokenizers library has one class for all errors
        found = str(error)
    if found != expected:
        raise CheckpointError(
            f"{path}: transformers does not keep the tokenizer of this GGUF",
            found=str(found)[:200],
            expected=str(expected)[:200],
            action="use the original checkpoint folder instead",
        )


def _templates(metadata: Mapping[str, Any], tokenizer: Any) -> None:
    """Chat templates for special uses, beside the usual one."""
    prefix = "tokenizer.chat_template."
    named = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    if named:
        usual = metadata.get("tokenizer.chat_template")
        tokenizer.chat_template = {**({"default": usual} if usual else {}), **named}


def _unsupported(path: Path, name: str, found: object, expected: str) -> CheckpointError:
    return CheckpointError(
        f'{path}: "tokenizer.ggml.{name}" of this GGUF is not supported',
        found=str(found)[:80],
        expected=expected,
        action="use the original checkpoint folder instead",
    )

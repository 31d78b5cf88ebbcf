"""SentencePiece vocabularies of GGUF files split texts as llama.cpp does."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import gguf
import pytest
from transformers import AutoTokenizer

from compiler.checkpoint import resolve
from compiler.errors import CheckpointError
from tests.checkpoint.ggufs import model

SPACE = "\u2581"
ALPHABET = "abehlnort"
PIECES = [
    "he",
    "the",
    "in",
    "er",
    f"{SPACE}t",
    f"{SPACE}the",
    "ll",
    "ello",
    "hello",
    f"{SPACE}hello",
    f"{SPACE}{SPACE}",
    "tt",
]
SPECIAL = ["<unk>", "<s>", "</s>", "<|end|>", "<pad>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SINGLE = [SPACE, *ALPHABET]
TOKENS = [*SPECIAL, *BYTES, *SINGLE, *PIECES]
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
TYPES = [UNKNOWN, CONTROL, CONTROL, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * (len(SINGLE) + len(PIECES))]
SCORES = [0.0] * (len(SPECIAL) + 256) + [-100.0] * len(SINGLE) + [-float(rank) for rank in range(len(PIECES))]


def pieces(text: str, prefix: bool) -> list[str]:
    """llama.cpp's way: of all neighbours that make a token, the best one is joined first, the left one of equals."""
    parts = list((" " + text if prefix and text else text).replace(" ", SPACE))
    scores = dict(zip(TOKENS, SCORES, strict=True))
    while joined := [(-scores[a + b], at) for at, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in scores]:
        at = min(joined)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [piece for part in parts for piece in ([part] if part in scores else _bytes(part))]


def _bytes(part: str) -> list[str]:
    return [f"<0x{byte:02X}>" for byte in part.encode()]


def write(path: Path, architecture: str, **said: bool) -> Path:
    made = model(architecture, vocab_size=len(TOKENS), tie_word_embeddings=True)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(made.config.rms_norm_eps)
    if architecture.startswith("gemma"):
        writer.add_key_length(16)
        writer.add_value_length(16)
        writer.add_sliding_window(16)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores(SCORES)
    writer.add_token_types(TYPES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(4)
    for name, value in said.items():
        writer.add_bool(f"tokenizer.ggml.{name}", value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], 2)
    for name, tensor in made.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"add_space_prefix": True, "add_bos_token": True}),
    ("llama", {"add_bos_token": False}),
    ("llama", {"add_space_prefix": False}),
    ("phi3", {}),
    ("gemma2", {"add_space_prefix": False, "add_bos_token": True}),
    ("gemma3", {"add_space_prefix": False, "add_bos_token": True}),
]


def test_a_tokenizer_that_transformers_takes_for_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not keep the tokenizer"):
        resolve(str(write(tmp_path / "m.gguf", "qwen2")), cache=tmp_path / "cache")


@pytest.mark.parametrize(("architecture", "said"), CASES, ids=str)
def test_texts_are_split_as_llama_cpp_does(architecture: str, said: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", architecture, **said)
    tokenizer = AutoTokenizer.from_pretrained(resolve(str(path), cache=tmp_path / "cache").folder)
    draw = random.Random(1)
    texts = ["the hello", "hello  the", "  the", "\u00e9 the 9", "a\nb"]
    texts += ["".join(draw.choice(ALPHABET + "  ") for _ in range(draw.randrange(1, 24))) for _ in range(300)]
    for text in texts:
        expected = pieces(text, said.get("add_space_prefix", True))
        begun = ["<s>"] if said.get("add_bos_token", True) else []
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == begun + expected, repr(text)
    assert (
        tokenizer.convert_ids_to_tokens(tokenizer("the<|end|>", add_special_tokens=False)["input_ids"])[-1] == "<|end|>"
    )

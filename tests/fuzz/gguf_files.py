"""GGUF files out of JSON trees: what a mutation made of a tree is written as far as it can be."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

WORDS = ["<pad>", "<s>", "</s>", "a", "b", "ab", "Ġ"]
HIDDEN, WIDE = 8, 12
SHAPES = {
    "token_embd.weight": (len(WORDS), HIDDEN),
    "output_norm.weight": (HIDDEN,),
    "output.weight": (len(WORDS), HIDDEN),
    **{f"blk.0.attn_{part}.weight": (HIDDEN, HIDDEN) for part in ("q", "k", "v", "output")},
    **{f"blk.0.{part}_norm.weight": (HIDDEN,) for part in ("attn", "ffn")},
    **{f"blk.0.ffn_{part}.weight": (WIDE, HIDDEN) for part in ("gate", "up")},
    "blk.0.ffn_down.weight": (HIDDEN, WIDE),
}
KEYS: dict[str, Any] = {
    "general.architecture": "llama",
    "general.alignment": 32,
    "llama.context_length": 64,
    "llama.embedding_length": HIDDEN,
    "llama.block_count": 1,
    "llama.feed_forward_length": WIDE,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-6,
    "llama.rope.dimension_count": 4,
    "llama.rope.freq_base": 10000.0,
    "llama.rope.scaling.type": "yarn",
    "llama.rope.scaling.factor": 4.0,
    "llama.rope.scaling.original_context_length": 16,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": WORDS,
    "tokenizer.ggml.token_type": [3, 3, 3, 1, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.eot_token_id": 0,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": "{{ messages }}",
}
FLOAT32, INT32, UINT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = 0, 5, 4, 7, 8, 9, 10, 11, 12


def whole() -> dict[str, Any]:
    """A whole model: its keys, and tensors as (sizes from the last, type, offset)."""
    at, tensors = 0, {}
    for name, shape in SHAPES.items():
        tensors[name] = [list(reversed(shape)), FLOAT32, at]
        at += -(-4 * int(np.prod(shape)) // 32) * 32
    keys = json.loads(json.dumps(KEYS))  # a copy, since mutations change what they are given
    return {"version": 3, "more keys": 0, "more tensors": 0, "bytes": at, "keys": keys, "tensors": tensors}


def write(tree: Any) -> bytes:
    """The file that a tree describes; what it lacks is that of `whole`."""
    tree = {**whole(), **(tree if isinstance(tree, dict) else {})}
    keys, tensors = (tree[part] if isinstance(tree[part], dict) else {} for part in ("keys", "tensors"))
    header = b"GGUF" + _packed("I", tree["version"])
    header += _packed("Q", len(tensors) + _whole(tree["more tensors"]))
    header += _packed("Q", len(keys) + _whole(tree["more keys"]))
    for name, value in keys.items():
        header += _text(name) + _value(value)
    for name, entry in tensors.items():
        sizes, kind, at = [*entry, 0, 0, 0][:3] if isinstance(entry, list) else (entry, 0, 0)
        sizes = sizes if isinstance(sizes, list) else [sizes]
        header += _text(name) + _packed("I", len(sizes)) + b"".join(_packed("Q", each) for each in sizes)
        header += _packed("I", kind) + _packed("Q", at)
    header += bytes(-len(header) % 32)
    return header + np.full(min(abs(_whole(tree["bytes"])), 1 << 16) // 4, 0.5, "<f4").tobytes()


def _value(value: Any) -> bytes:
    if isinstance(value, list):
        parts = [_value(each) for each in value]
        if len({part[:4] for part in parts}) > 1:  # an array has one type
            parts = [_value(str(each)) for each in value]
        kind = parts[0][:4] if parts else struct.pack("<I", UINT32)
        return struct.pack("<I", ARRAY) + kind + _packed("Q", len(parts)) + b"".join(part[4:] for part in parts)
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        number, form = (UINT32, "I") if 0 <= value < 2**32 else (INT64, "q") if value < 0 else (UINT64, "Q")
        return struct.pack("<I", number) + (
            struct.pack("<q", max(value, -(2**63))) if form == "q" else _packed(form, value)
        )
    if isinstance(value, float):
        return struct.pack("<Id", FLOAT64, value)
    return struct.pack("<I", STRING) + _text(value)


def _text(value: Any) -> bytes:
    content = str(value).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(content)) + content


def _packed(form: str, value: Any) -> bytes:
    return struct.pack(f"<{form}", _whole(value) % 2 ** (8 * struct.calcsize(f"<{form}")))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0

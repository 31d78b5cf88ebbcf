"""Small bundles of every task of an encoder, and what their methods are called with."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from onnx import TensorProto
from tokenizers import Tokenizer, processors

from compiler import bundle
from compiler.records import Tensor
from tests import models as tiny

MASK, LABELS = "<user>", 3
TEXT = "ban dir kos"
ROWS, CHOICES = ("batch", "sequence"), ("batch", "choices", "sequence")
HEADS: dict[str, dict[str, tuple[str | int, ...]]] = {  # outputs by their shape
    "fill-mask": {"logits": (*ROWS, tiny.VOCABULARY)},
    "text-classification": {"logits": ("batch", LABELS)},
    "token-classification": {"logits": (*ROWS, LABELS)},
    "question-answering": {"start_logits": ROWS, "end_logits": ROWS},
    "multiple-choice": {"logits": CHOICES[:2]},
    "next-sentence-prediction": {"logits": ("batch", 2)},
    "replaced-token-detection": {"logits": ROWS},
}
CALLS: dict[str, tuple[dict[str, Any], ...]] = {  # a method and its arguments by place, then those by name
    "fill-mask": ({"fill_mask": [f"ban {MASK} kos"], "top_k": 2, "targets": ["ban"]},),
    "text-classification": (
        {"classify": [[TEXT, "x"]], "top_k": 2, "function": "sigmoid", "adapter": None},
        {"rerank": [TEXT, [TEXT, "x"]]},
    ),
    "token-classification": ({"classify_tokens": [[TEXT, ""]], "aggregation": "first", "ignore": ["O"]},),
    "question-answering": (
        {
            "answer": [TEXT, "fan dir lel mos"], "top_k": 2, "max_answer_length": 3, "doc_stride": 2,
            "allow_no_answer": False,
        },
    ),
    "multiple-choice": ({"choose": [TEXT, ["ban", "dir"]]},),
    "next-sentence-prediction": ({"is_next": [TEXT, "x"]},),
    "replaced-token-detection": ({"detect_replaced": [[TEXT, ""]]},),
}  # fmt: skip
CONFIG = {
    "model_type": "bert",
    "id2label": {"0": "O", "1": "B-X", "2": "I-X"},
    "label2id": {"O": 0, "B-X": 1, "I-X": 2},
    "problem_type": "single_label_classification",
    "num_labels": LABELS,
    "pad_token_id": 0,
    "text_config": {"pad_token_id": 0},
}
SETTINGS = {
    "bos_token": "<bos>",
    "pad_token": "<pad>",
    "mask_token": {"content": MASK},
    "cls_token": "<bos>",
    "unk_token": "<unk>",
    "model_max_length": 32,
    "padding_side": "right",
    "truncation_side": "right",
    "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    "clean_up_tokenization_spaces": True,
    "split_special_tokens": False,
}
FILES = {"config.json": CONFIG, "tokenizer_config.json": SETTINGS}


@functools.cache
def manifest(task: str) -> bytes:
    """The manifest of such a bundle."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        return (write(Path(folder) / "bundle", task) / bundle.MANIFEST).read_bytes()


def write(folder: Path, task: str) -> Path:
    """A sealed bundle of this task, in a new folder."""
    folder.mkdir(parents=True)
    names = CHOICES if task == "multiple-choice" else ROWS
    inputs = tuple(Tensor(name=name, dtype="int64", shape=names) for name in ("input_ids", "attention_mask"))
    outputs = tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in HEADS[task].items())
    graph = tiny.Graph()
    states = graph.add("Gather", graph.weight(tiny.VOCABULARY, tiny.HIDDEN), "input_ids")
    seen = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    states = graph.add("Mul", states, graph.add("Unsqueeze", seen, graph.constant(np.array([-1]))))
    for name, shape in HEADS[task].items():
        pooled = "sequence" not in shape
        given = graph.add("ReduceSum", states, graph.constant(np.array([-2])), keepdims=0) if pooled else states
        width = shape[-1] if isinstance(shape[-1], int) else 1
        logits = graph.add("MatMul", given, graph.weight(tiny.HIDDEN, width))
        graph.rename(graph.add("Squeeze", logits, graph.constant(np.array([-1]))) if width == 1 else logits, name)
    graph.save(folder / "model.onnx", inputs, outputs)
    _write_tokenizer(folder)
    for name, content in FILES.items():
        (folder / name).write_text(json.dumps(content))
    bundle.seal(folder, replace(tiny.manifest("encoder", inputs, outputs), task=task, token_rows=tiny.VOCABULARY))
    return folder


def _write_tokenizer(folder: Path) -> None:
    tiny.write_tokenizer(folder)
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B:1 <eos>:1", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    tokenizer.save(path)

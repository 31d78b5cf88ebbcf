"""Which models say something else of a text when padding stands behind it."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.export.graph_inputs import signature
from compiler.export.padding import padding
from compiler.records import Padding
from compiler.tasks import TASKS
from tests.families import FAMILIES, Family, family, random_model

BASE: dict[str, Any] = family("bert", "feature-extraction").config
SMALL = {**BASE, "embedding_size": 16}
VECTORS, CLASSES = "feature-extraction", "text-classification"
DEPENDENT = [
    Family("convbert", "convbert", VECTORS, {**SMALL, "conv_kernel_size": 3}),
    Family("convbert", "convbert", CLASSES, {**SMALL, "conv_kernel_size": 3}),
    Family("convbert", "convbert", "multiple-choice", {**SMALL, "conv_kernel_size": 9}),
    Family("fnet", "fnet", VECTORS, {name: value for name, value in BASE.items() if name != "num_attention_heads"}),
    Family("yoso", "yoso", VECTORS, BASE),
    family("xlnet", CLASSES),  # reads the last column
    Family("gpt2", "gpt2", CLASSES, {**family("gpt2", "text-generation").config, "pad_token_id": None}),
]
HIDING = [row for row in FAMILIES if TASKS[row.task].kind == "encoder" and row not in DEPENDENT]
HIDING += [
    Family("gpt2", "gpt2", CLASSES, family("gpt2", "text-generation").config),  # finds the end by its padding token
    Family("roformer", "roformer", VECTORS, SMALL),
]


def found(row: Family, context: int = 128) -> Padding:
    model = random_model(row)
    return padding(signature(model, row.task), model.config.pad_token_id, context)


@pytest.mark.parametrize("row", DEPENDENT, ids=lambda row: row.id)
def test_what_reads_padding(row: Family) -> None:
    assert found(row) == "changes answers"


@pytest.mark.parametrize("row", HIDING, ids=lambda row: row.id)
def test_what_hides_padding(row: Family) -> None:
    assert found(row) == "hidden"


def test_a_context_of_a_few_tokens() -> None:
    (convolutions, *_), plain = DEPENDENT, family("bert", VECTORS)
    found_short = [
        found(row._replace(config={**row.config, "max_position_embeddings": 5}), 5) for row in (convolutions, plain)
    ]
    assert found_short == ["changes answers", "hidden"]

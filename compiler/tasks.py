"""The tasks a checkpoint can be compiled for, one row each.

Names are Optimum's, so that one vocabulary serves the ecosystem.
"""

from __future__ import annotations

from typing import NamedTuple

from compiler.records import Kind


class Task(NamedTuple):
    """`auto_class` is the transformers class that loads it; `output` the graph output that holds the answer."""

    auto_class: str
    kind: Kind
    output: str
    help: str


TASKS: dict[str, Task] = {
    "feature-extraction": Task("AutoModel", "encoder", "last_hidden_state", "token vectors and text embeddings"),
    "fill-mask": Task("AutoModelForMaskedLM", "encoder", "logits", "the missing word"),
    "text-classification": Task("AutoModelForSequenceClassification", "encoder", "logits", "a label for a text"),
    "token-classification": Task("AutoModelForTokenClassification", "encoder", "logits", "a label for every token"),
    "text-generation": Task("AutoModelForCausalLM", "decoder", "logits", "the text that follows"),
}

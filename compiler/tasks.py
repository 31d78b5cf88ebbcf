"""The tasks a checkpoint can be compiled for, one row each.

Names are Optimum's where it has one, so that one vocabulary serves the ecosystem.
"""

from __future__ import annotations

from typing import NamedTuple

from compiler.records import Kind


class Task(NamedTuple):
    """`auto_class` is the transformers class that loads it; `outputs` are the graph outputs that hold the answer."""

    auto_class: str
    kind: Kind
    outputs: tuple[str, ...]
    help: str


_LOGITS = ("logits",)

TASKS: dict[str, Task] = {
    "feature-extraction": Task("AutoModel", "encoder", ("last_hidden_state",), "token vectors and text embeddings"),
    "fill-mask": Task("AutoModelForMaskedLM", "encoder", _LOGITS, "the missing word"),
    "text-classification": Task("AutoModelForSequenceClassification", "encoder", _LOGITS, "labels for a text or pair"),
    "token-classification": Task("AutoModelForTokenClassification", "encoder", _LOGITS, "a label for every word"),
    "question-answering": Task(
        "AutoModelForQuestionAnswering", "encoder", ("start_logits", "end_logits"), "where a text answers a question"
    ),
    "multiple-choice": Task("AutoModelForMultipleChoice", "encoder", _LOGITS, "the best of several continuations"),
    "next-sentence-prediction": Task(
        "AutoModelForNextSentencePrediction", "encoder", _LOGITS, "whether one text follows another"
    ),
    "replaced-token-detection": Task("AutoModelForPreTraining", "encoder", _LOGITS, "words that do not belong"),
    "text-generation": Task("AutoModelForCausalLM", "decoder", _LOGITS, "the text that follows"),
    "text2text-generation": Task("AutoModelForSeq2SeqLM", "encoder-decoder", _LOGITS, "one text made from another"),
}

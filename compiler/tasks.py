"""The tasks a checkpoint can be compiled for, one row each.

Names are Optimum's where it has one, so that one vocabulary serves the ecosystem.
"""

from __future__ import annotations

from typing import NamedTuple

from compiler.errors import UsageError, did_you_mean
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

# Other names for them: of transformers' pipelines, and of Optimum's command line.
ALIASES: dict[str, str] = {
    "causal-lm": "text-generation",
    "default": "feature-extraction",
    "masked-lm": "fill-mask",
    "ner": "token-classification",
    "pretraining": "feature-extraction",
    "sentence-similarity": "feature-extraction",
    "sentiment-analysis": "text-classification",
    "seq2seq-lm": "text2text-generation",
    "sequence-classification": "text-classification",
    "summarization": "text2text-generation",
    "text-ranking": "text-classification",
    "translation": "text2text-generation",
    "zero-shot-classification": "text-classification",
}


def canonical(task: str) -> str:
    """Our name for a task, from it or an alias, also with the "-with-past" that Optimum appends for a cache.

    Raises:
        UsageError: it names none of them.
    """
    name = task.removesuffix("-with-past")
    name = ALIASES.get(name, name)
    if name not in TASKS:
        raise UsageError(
            f'task "{task}" is unknown', expected=", ".join(TASKS), action=did_you_mean(task, TASKS) or "choose one"
        )
    return name

"""What a model can answer, read from its configuration before the model itself is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compiler.bundle import Files
from compiler.errors import InputError, did_you_mean
from compiler.records import Manifest
from compiler.runtime.scores import labels
from compiler.runtime.text import Text

Mode = Literal["single", "multiple", "number"]


@dataclass(frozen=True)
class Answers:
    """The labels of a classifier, and whether it gives one of them, any number, or a number in their place.

    Attributes:
        task: a key of `tasks.TASKS`.
        mask: the token that stands for a missing word, or "".
    """

    task: str
    labels: tuple[str, ...]
    mode: Mode
    mask: str

    def label(self, value: Any) -> str:
        """A label by its name or number. Raises InputError for an unknown one."""
        if isinstance(value, str) and value in self.labels:
            return value
        number = int(value) if isinstance(value, int) or str(value).isdecimal() else -1
        if 0 <= number < len(self.labels):
            return self.labels[number]
        raise InputError(
            f'the model has no label "{value}"',
            expected=", ".join(self.labels[:20]),
            action=did_you_mean(str(value), self.labels),
        )

    def read(self, value: Any, number: Callable[[Any, Answers], float]) -> Any:
        """A cell as this model answers: a label, several in their order, or a number."""
        if self.mode == "number":
            return number(value, self)
        if self.mode == "single":
            return self.label(value)
        several = value if isinstance(value, list) else [value]
        found = {self.label(each) for each in several}
        return tuple(label for label in self.labels if label in found)


def answers_of(folder: Path, manifest: Manifest) -> Answers:
    """Of a bundle; only its configuration and its tokenizer are read."""
    text = Text(Files(folder, manifest), manifest)
    classifies = manifest.task in {"text-classification", "token-classification"}
    names = tuple(labels(manifest, text)) if classifies else ()
    kind = text.config.get("problem_type")
    mode: Mode = "single"
    if manifest.task == "text-classification":
        if kind == "multi_label_classification":
            mode = "multiple"
        elif kind == "regression" or len(names) == 1:
            mode = "number"
    return Answers(manifest.task, names, mode, text.special["mask"])

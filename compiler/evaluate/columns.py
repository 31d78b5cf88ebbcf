"""From rows with a user's column names to items that a task understands, or an error that names the row."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from compiler.errors import InputError, UsageError, did_you_mean
from compiler.evaluate.data import Row
from compiler.evaluate.labels import Answers
from compiler.reading import parse_strict

Item = dict[str, Any]


class Role(NamedTuple):
    """What a column is for: the names it usually has, and how a cell is read (ValueError says what was expected)."""

    names: tuple[str, ...]
    read: Callable[[Any, Answers], Any]


def _text(value: Any, _: Answers) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    return value


def _structure(value: Any) -> Any:
    """A cell of a CSV file may hold JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return parse_strict(value, Any, InputError, "a cell")
        except InputError:
            return value
    return value


def _texts(value: Any, _: Answers) -> list[str]:
    """A text, or a list of them, as a list."""
    value = _structure(value)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("a text or a list of texts")
    return texts


def _words(value: Any, _: Answers) -> list[str]:
    value = _structure(value)
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError("a list of words, or a text with spaces between them")
    return words


def _answers(value: Any, _: Answers) -> list[str]:
    """The right answers; [""] where there is none."""
    value = _structure(value)
    if isinstance(value, dict):
        value = value.get("text")
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError('a text, a list of texts, or {"text": [...]}')
    return found or [""]


def _tags(value: Any, answers: Answers) -> list[str]:
    value = _structure(value)
    tags = value.split() if isinstance(value, str) else value
    if not isinstance(tags, list):
        raise ValueError("a list of labels, one a word")
    return [answers.label(tag) for tag in tags]


def _flags(value: Any, _: Answers) -> list[bool]:
    value = _structure(value)
    flags = value.split() if isinstance(value, str) else value
    if not isinstance(flags, list):
        raise ValueError("a list of 0 and 1, one a word")
    return [_flag(flag) for flag in flags]


def _flag(value: Any, _: Answers | None = None) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    found = words.get(str(value).strip().lower())
    if found is None:
        raise ValueError("true or false")
    return found


def _number(value: Any, _: Answers) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number")
    return number


def _label(value: Any, answers: Answers) -> Any:
    return answers.read(_structure(value), _number)


def _masked(value: Any, answers: Answers) -> str:
    text = _text(value, answers)
    if text.count(answers.mask) != 1:
        raise ValueError(f"a text with {answers.mask} in one place")
    return text


def _choice(value: Any, _: Answers) -> int | str:
    return int(value) if isinstance(value, int) or str(value).isdecimal() else str(value)


TEXT = Role(("text", "sentence", "sentence1", "premise", "query", "content", "review", "prompt"), _text)
PAIR = Role(("pair", "text_pair", "sentence2", "hypothesis", "passage", "text2"), _text)
LABELS = ("label", "labels", "gold", "score", "target")
WORDS = Role(("words", "tokens", "text"), _words)
SOURCE = Role(("text", "prompt", "source", "input", "article", "document", "dialogue", "question", "content"), _text)
REFERENCE = Role(
    ("reference", "references", "target", "summary", "highlights", "completion", "output", "answer", "label"), _texts
)

ROLES: dict[str, dict[str, Role]] = {
    "text-classification": {"text": TEXT, "pair": PAIR, "label": Role(LABELS, _label)},
    "token-classification": {"words": WORDS, "tags": Role(("tags", "ner_tags", "pos_tags", "labels", "label"), _tags)},
    "question-answering": {
        "question": Role(("question",), _text),
        "context": Role(("context", "passage", "text"), _text),
        "answers": Role(("answers", "answer", "label"), _answers),
    },
    "fill-mask": {
        "text": Role(TEXT.names, _masked),
        "label": Role(("label", "word", "token", "target", "gold"), _text),
    },
    "feature-extraction": {
        "text": TEXT,
        "pair": PAIR,
        "label": Role(("score", "similarity", "label", "similarity_score", "gold"), _number),
    },
    "multiple-choice": {
        "text": Role(("text", "prompt", "question", "startphrase", "ctx", "context"), _text),
        "choices": Role(("choices", "endings", "options"), _texts),
        "label": Role(("label", "answer", "gold"), _choice),
    },
    "next-sentence-prediction": {
        "text": TEXT,
        "pair": PAIR,
        "label": Role(("is_next", "follows", "label", "gold"), _flag),
    },
    "replaced-token-detection": {"words": WORDS, "tags": Role(("replaced", "tags", "labels", "label"), _flags)},
    "text-generation": {"text": SOURCE, "reference": REFERENCE},
    "text2text-generation": {"text": SOURCE, "reference": REFERENCE},
}


def bind(
    task: str, rows: Mapping[int, Row], named: Mapping[str, str], wanted: Collection[str], answers: Answers
) -> list[Item]:
    """An item for each row, with everything in `wanted` read and checked.

    Args:
        task: a key of `ROLES`.
        rows: by their index in the data, which errors count from 1.
        named: the columns that the user named, by role.
        wanted: roles that must be there; "pair" of a classification is also taken where a column is called so.
        answers: what the model can answer.

    Raises:
        UsageError: the task has no such role.
        InputError: a column is missing, or a cell does not fit.
    """
    roles = ROLES[task]
    for role in named:
        if role not in roles:
            raise UsageError(
                f'--column {role}: {task} has no "{role}"', expected=", ".join(roles), action=did_you_mean(role, roles)
            )
    present = list(dict.fromkeys(name for row in rows.values() for name in row))
    taken: dict[str, str] = {}
    for role in roles:
        column = _column(role, roles[role], named, present, set(taken.values()))
        if column is not None and (role in wanted or role in named or role == "pair"):
            taken[role] = column
        elif role in wanted:
            raise InputError(
                f'no column for "{role}"',
                found=", ".join(present),
                expected=f"one of {', '.join(roles[role].names)}",
                action=f"name it: --column {role}=NAME",
            )
    items = []
    for index, row in rows.items():
        number = index + 1
        item = {role: _cell(number, column, row, roles[role], answers) for role, column in taken.items()}
        _fit(number, item)
        items.append(item)
    return items


def _column(
    role: str, known: Role, named: Mapping[str, str], present: Sequence[str], used: Collection[str]
) -> str | None:
    if role in named:
        if named[role] not in present:
            raise InputError(
                f"--column {role}={named[role]}: no such column in the data",
                found=", ".join(present),
                action=did_you_mean(named[role], present),
            )
        return named[role]
    free = [name for name in known.names if name in present and name not in {*used, *named.values()}]
    return free[0] if free else None


def _cell(number: int, column: str, row: Row, role: Role, answers: Answers) -> Any:
    value = row.get(column)
    if value is None or value == "":
        raise InputError(f'row {number}: "{column}" is missing', found="nothing", expected="a value in every row")
    try:
        return role.read(value, answers)
    except InputError as error:
        raise InputError(
            f'row {number}: "{column}": {error.subject}', expected=error.expected, action=error.action
        ) from error
    except ValueError as error:
        shown = repr(value)
        raise InputError(
            f'row {number}: "{column}" does not fit', found=f"{shown[:80]}", expected=str(error)
        ) from error


def _fit(number: int, item: Item) -> None:
    """Raises InputError where the parts of an item do not fit together; a choice becomes its place."""
    if "tags" in item and len(item["tags"]) != len(item["words"]):
        raise InputError(
            f"row {number}: not as many labels as words",
            found=f"{len(item['tags'])} labels, {len(item['words'])} words",
            expected="one label a word",
        )
    if "choices" in item and "label" in item:
        choices, label = item["choices"], item["label"]
        place = choices.index(label) if label in choices else label
        if not isinstance(place, int) or not 0 <= place < len(choices):
            raise InputError(
                f"row {number}: the label is none of the choices",
                found=repr(label)[:80],
                expected=f"0 to {len(choices) - 1}, or a choice's text",
            )
        item["label"] = place

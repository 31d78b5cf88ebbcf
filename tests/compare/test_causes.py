from __future__ import annotations

import msgspec
import pytest

from compiler.compare.causes import causes
from compiler.compare.judge import judged
from compiler.records.comparison import Change, Part, Subject, Verdict
from compiler.statistics import Estimate


def broken(subject: Subject, name: str = "x") -> Verdict:
    return judged(
        subject,
        name,
        (1.0, 2.0),
        Estimate(1.0, 0.9, 1.1),
        unit="",
        margin=0.0,
        enforce=True,
        code=f"{subject}:{name}",
        samples=9,
        test="",
    )


def change(part: Part, name: str, before: str = "1", after: str = "2") -> Change:
    return Change(part=part, name=name, baseline=before, candidate=after)


LOST = change("fusions", "attention", "6", "4")
ENGINE = change("engine", "version", "1.30", "1.31")
QUERY = change("precision", "layer.0.query", "float32", "int8")
KEY = change("precision", "layer.1.key", "float32", "int8")
HEAD = change("precision", "head", "int8", "float32")
TOKENIZER = change("tokenizer", "tokenizer.json", "ab", "cd")
CHECKPOINT = change("checkpoint", "digest", "ab", "cd")
MACHINE = change("machine", "cpu", "A", "B")
BUILD = change("precision", "of the build", "float32", "int8-dynamic")


def names(*changes: Change, subject: Subject) -> list[str]:
    return [cause.subject for cause in causes([broken(subject)], changes)]


def test_nothing_is_broken() -> None:
    assert causes([], [LOST]) == []


def test_a_certificate_that_fails_is_its_own_cause() -> None:
    own = msgspec.structs.replace(broken("certificate", "fail"), test="the candidate's own certificate: FAIL (a)")
    (cause,) = causes([own], [LOST])
    assert (cause.kind, cause.text, cause.explains) == ("certificate", own.test, (own.code,))
    first, second = causes([own, broken("fusions")], [LOST])
    assert (first.kind, first.explains, second.kind) == ("fusions", ("fusions:x",), "certificate")


def test_what_is_slower() -> None:
    """A module in more bits before a lost fusion; fewer bits come last; a tokenizer makes no engine slower."""
    found = names(QUERY, MACHINE, ENGINE, TOKENIZER, LOST, HEAD, subject="latency")
    assert found == ["head", "attention", "version", "cpu", "layer.0.query"]


def test_what_answers_worse() -> None:
    """Another model before its precision; fewer bits before more; the modules before the build's word for it."""
    found = names(HEAD, ENGINE, BUILD, KEY, QUERY, TOKENIZER, CHECKPOINT, subject="quality")
    assert found == ["digest", "layer.1.key, layer.0.query", "of the build", "tokenizer.json", "version", "head"]


def test_many_modules_are_one_cause() -> None:
    many = [change("precision", f"layer.{index}", "float32", "int4") for index in range(9)]
    found = causes([broken("parity")], many)
    assert [cause.text for cause in found] == [
        "precision layer.0, layer.1, layer.2, layer.3 and 5 more: float32 -> int4"
    ]


def test_a_cause_names_the_gates_that_it_explains() -> None:
    found = causes([broken("quality", "accuracy"), broken("latency", "1x32")], [TOKENIZER, LOST])
    explained = {cause.subject: cause.explains for cause in found}
    assert explained == {"tokenizer.json": ("quality:accuracy",), "attention": ("quality:accuracy", "latency:1x32")}


@pytest.mark.parametrize("changes", [[], [change("chat template", "chat_template.jinja")]])
def test_no_difference_explains_it(changes: list[Change]) -> None:
    found = causes([broken("latency")], changes)
    assert [(cause.kind, cause.explains) for cause in found] == [("unknown", ("latency:x",))]

"""Parity, sizes, fusions, precisions, and what changed, from certificates and from real bundles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from compiler.compare import Gates, content, parity, read
from compiler.compare.certified import verdict as certificate_verdict
from compiler.compare.changes import changes
from compiler.compare.gates import OwnCertificate, Parity
from compiler.compare.precisions import lowered
from compiler.records import Certificate, Checked, Finding, Placement
from compiler.records.comparison import Verdict
from tests.cli.conftest import checked
from tests.compare.sides import side


def finding(value: float, **changes: object) -> Checked:
    one = Finding(name="f", value=value, unit="share", samples=9, better="higher", limit=0.9)
    return msgspec.structs.replace(checked(), findings=(msgspec.structs.replace(one, **changes),))


def parity_verdict(before: Checked, after: Checked) -> Verdict:
    return parity.verdicts(side(checked=before).certificate, side(checked=after).certificate, Gates())[0]


@pytest.mark.parametrize(
    ("value", "unit", "better", "limit", "used"),
    [
        (0.95, "share", "higher", 0.9, 0.5),
        (0.85, "share", "higher", 0.9, 1.5),
        (1.0, "share", "higher", 1.0, 0.0),
        (1.015, "ratio", "lower", 1.03, 0.5),
        (0.99, "ratio", "lower", 1.03, 0.0),
        (2.0, "absolute", "lower", 8.0, 0.25),
        (float("nan"), "absolute", "lower", 8.0, float("inf")),
    ],
)
def test_how_much_of_a_limit_is_used(value: float, unit: str, better: str, limit: float, used: float) -> None:
    one = Finding(name="f", value=value, unit=unit, samples=1, better="lower", limit=limit)
    one = msgspec.structs.replace(one, better=better)
    assert parity.used(one, limit) == pytest.approx(used)


def test_parity_that_uses_up_more_of_its_limit() -> None:
    assert parity_verdict(finding(0.99), finding(0.98)).word == "same"
    worse = parity_verdict(finding(0.99), finding(0.95))
    assert (worse.word, worse.code) == ("worse", "parity-loss:f")
    assert parity_verdict(finding(0.95), finding(0.99)).word == "better"
    assert parity_verdict(finding(0.901), finding(0.899)).word == "worse"  # just outside is outside


LOOSE = Gates(parity=Parity(max_increase=1000.0))


@pytest.mark.parametrize(
    ("before", "after", "word", "change", "margin"),
    [
        (0.98, 0.97, "same", 0.1, 0.25),
        (0.901, 0.899, "worse", 0.02, 0.01),  # no farther than to the limit
        (0.901, 0.9, "same", 0.01, 0.01),
        (0.9, 0.9, "same", 0.0, 0.0),
        (0.89, 0.885, "same", 0.05, 0.25),
        (0.89, 0.85, "worse", 0.4, 0.25),
        (0.5, 0.4, "worse", 1.0, 0.25),  # however far out the baseline is
        (0.4, 0.5, "better", -1.0, 0.25),
        (0.4, 0.95, "better", -5.5, 0.25),
        (0.95, 0.4, "worse", 5.5, 0.25),
    ],
)
def test_parity_far_outside_its_limit(before: float, after: float, word: str, change: float, margin: float) -> None:
    verdict = parity_verdict(finding(before), finding(after))
    assert (verdict.word, verdict.broken) == (word, word == "worse")
    assert (verdict.change, verdict.margin) == (pytest.approx(change), pytest.approx(margin))
    assert verdict.scale == (100, "% of the limit")


def test_no_gate_lets_a_candidate_leave_the_limit() -> None:
    sides = [side(checked=finding(value)).certificate for value in (0.99, 0.89, 0.5)]
    assert parity.verdicts(sides[0], sides[1], LOOSE)[0].word == "worse"
    assert parity.verdicts(sides[1], sides[2], LOOSE)[0].word == "same"  # the baseline is out: 1000 times as far


@pytest.mark.parametrize(
    ("before", "after", "word", "change"),
    [(0.0, 0.0, "same", 0.0), (0.0, 3.0, "worse", 3.0), (2.0, 5.0, "worse", 3.0), (5.0, 2.0, "better", -3.0)],
)
def test_a_limit_that_allows_nothing_has_no_shares(before: float, after: float, word: str, change: float) -> None:
    of = [finding(value, unit="items", better="lower", limit=0.0) for value in (before, after)]
    verdict = parity.verdicts(*(side(checked=each).certificate for each in of), LOOSE)[0]
    assert (verdict.word, verdict.change, verdict.margin) == (word, change, 0.0)
    assert verdict.changed == f"{change:+g} items"


def certified(*reasons: str) -> Certificate:
    return side(verdict="fail" if reasons else "pass", reasons=reasons).certificate


def test_a_candidate_that_fails_by_itself() -> None:
    allowed = Gates(certificate=OwnCertificate(enforce=False))
    found = certificate_verdict(certified(), certified("a", "b"), Gates())
    assert (found.word, found.code, found.baseline, found.candidate) == ("failed", "certificate:fail", 0, 2)
    assert "a, b" in found.test
    found = certificate_verdict(certified(), certified("a", "b"), allowed)
    assert (found.word, found.broken, found.code) == ("failed", False, "")
    alike = certificate_verdict(certified("a"), certified("a"), Gates())  # a baseline that fails excuses nothing
    assert (alike.word, alike.broken, alike.change) == ("failed", True, 0.0)
    mended = certificate_verdict(certified("a"), certified(), Gates())
    assert (mended.word, mended.broken) == ("better", False)
    assert certificate_verdict(certified(), certified(), Gates()).word == "same"
    unnamed = side(verdict="fail", reasons=()).certificate
    assert certificate_verdict(certified(), unnamed, Gates()).broken


def test_a_failure_that_only_the_candidate_has() -> None:
    """Of answers that are NaN there is no other finding, so that nothing else could be worse."""
    lost = finding(3.0, name="output.nan", unit="values", better="lower", limit=0.0)
    verdict = parity_verdict(finding(0.99), lost)
    assert (verdict.name, verdict.word, verdict.code) == ("output.nan", "worse", "parity-loss:output.nan")
    assert (verdict.baseline, verdict.candidate, verdict.change) == (None, 3.0, None)  # nothing made up
    fine = finding(0.99, name="new")
    assert parity.verdicts(side(checked=finding(0.99)).certificate, side(checked=fine).certificate, Gates()) == []


def test_adapters_have_parity_of_their_own() -> None:
    def adapted(value: float) -> Checked:
        return msgspec.structs.replace(finding(0.99), adapters={"law": finding(value).findings})

    found = [
        parity.verdicts(side(checked=adapted(0.99)).certificate, side(checked=adapted(value)).certificate, Gates())
        for value in (0.99, 0.8)
    ]
    assert [[(each.name, each.word) for each in verdicts] for verdicts in found] == [
        [("f", "same"), ("law.f", "same")],
        [("f", "same"), ("law.f", "worse")],
    ]


def placed(**counts: int) -> tuple[Placement, ...]:
    return tuple(
        Placement(operator=operator, provider="CPU", precision="float32", count=count)
        for operator, count in counts.items()
    )


def test_a_fusion_is_lost_where_its_parts_appear() -> None:
    whole = side(placement=placed(MultiHeadAttention=6, SkipLayerNormalization=12, MatMul=36))
    apart = side(placement=placed(MultiHeadAttention=4, SkipLayerNormalization=12, MatMul=40, Softmax=2))
    assert content.lost_fusions(whole.certificate, apart.certificate) == {"attention": 2}
    found = {verdict.subject: verdict for verdict in content.verdicts(whole, apart, Gates())}
    assert (found["fusions"].word, found["fusions"].code) == ("worse", "fusions:lost")
    back = {verdict.subject: verdict for verdict in content.verdicts(apart, whole, Gates())}
    assert back["fusions"].word == "better"


def test_fewer_layers_or_another_operator_are_no_lost_fusion() -> None:
    six = side(placement=placed(MultiHeadAttention=6, SkipLayerNormalization=12, Add=2))
    for other in (
        placed(MultiHeadAttention=3, SkipLayerNormalization=6, Add=1),
        placed(GroupQueryAttention=6, SkipLayerNormalization=12, Add=2),
    ):
        assert content.lost_fusions(six.certificate, side(placement=other).certificate) == {}


def test_precisions_of_real_bundles(classifier: Path, int8: Path) -> None:
    float32, quantized = read(str(classifier)), read(str(int8))
    query = "bert.encoder.layer.1.attention.self.query"
    assert set(float32.precisions.values()) == {"float32"}
    assert quantized.precisions[query] == "int8"
    assert query in lowered(float32.precisions, quantized.precisions)
    assert lowered(quantized.precisions, float32.precisions) == []
    found = {verdict.subject: verdict for verdict in content.verdicts(float32, quantized, Gates())}
    assert found["precision"].word == "worse"
    assert not found["precision"].broken  # usually meant
    assert found["size"].word == "better"


def test_what_changed_between_real_bundles(classifier: Path, int8: Path, changed: Path) -> None:
    rows = changes(read(str(classifier)), read(str(int8)))
    found = {(row.part, row.name): (row.baseline, row.candidate) for row in rows}
    assert found["precision", "of the build"] == ("float32", "int8-dynamic")
    assert found["precision", "bert.encoder.layer.0.attention.self.query"] == ("float32", "int8")
    assert found["passes", "quantize-per-token"][0] == ""
    assert ("graph", "model.onnx") in found
    assert ("sizes", "all files, bytes") in found
    assert not {"tokenizer", "checkpoint", "toolchain", "machine"} & {row.part for row in rows}
    parts = {row.part for row in changes(read(str(classifier)), read(str(changed)))}
    assert "checkpoint" in parts
    assert not {"precision", "fusions", "operators", "tokenizer"} & parts


def test_nothing_changed(classifier: Path) -> None:
    assert changes(read(str(classifier)), read(str(classifier))) == []

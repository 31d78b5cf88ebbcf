"""The same report as HTML, Markdown, JUnit XML and JSON; texts of the user's data only where they are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as Xml

import pytest
from msgspec.structs import replace

from compiler import records
from compiler.records import Unsteady
from compiler.records.document import Entry, Report
from compiler.report import html, junit, markdown, single
from compiler.report.changes import changes
from compiler.report.evaluated import named
from compiler.report.front import front
from compiler.report.growth import LEFT, RIGHT, WIDTH, growth
from compiler.report.inputs import without_texts
from compiler.report.markdown import text
from tests.report.reports import ALL, DIVERGED, LAYERS, ONE, SECRET, digest, entry
from tests.report.test_page import BAD, Page, certificate

FORMATS: dict[str, Callable[[Report], str]] = {
    "html": html,
    "markdown": markdown,
    "junit": junit,
    "json": lambda report: records.encode(report).decode(),
}


@pytest.mark.parametrize("form", FORMATS)
def test_texts_of_the_data_are_shown_only_where_they_are_wanted(form: str) -> None:
    assert SECRET not in FORMATS[form](without_texts(ALL))
    if form in {"html", "json"}:
        assert FORMATS[form](ALL).count(SECRET) == 8


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_where_it_broke(form: str) -> None:
    said = FORMATS[form](ALL)
    for words in ("perplexity.ratio", "latency_1x32", "model.layers.2", "BiasGelu"):
        assert words in said, words


@pytest.mark.parametrize("form", ["html", "markdown", "json"])
def test_noise_of_a_measurement_is_said(form: str) -> None:
    noisy = Unsteady(runner="pytorch", series="latency_1x32", spread=1.25, drift=-0.5)
    before = certificate(BAD)
    assert before.measured is not None
    said = FORMATS[form](single(replace(before, measured=replace(before.measured, unsteady=(noisy,))), "x", "x"))
    calm = FORMATS[form](single(before, "x", "x"))
    words = {"html": "Not steady", "markdown": "Not steady", "json": '"spread": 1.25'}[form]
    assert (words in said, words in calm) == (True, False)
    if form == "html":
        assert {1.25, -0.5} <= {value for value, _ in Page(said).numbers}


def test_a_page_with_everything_is_well_formed_and_small() -> None:
    said = html(ALL)
    page = Page(said)  # which asserts that all tags are closed
    assert len(said.encode()) < 200_000
    for words in ("2 bundles", "What was gained, and what it cost", "Against the baseline", "Accuracy against latency"):
        assert words in page.text, words
    for words in (
        "On the data reviews.jsonl",
        "about 1500 more samples",
        "Layer by layer",
        "What changed",
        "Each bundle",
    ):
        assert words in page.text, words
    numbers = {value for value, _ in page.numbers}
    assert {2.07, 2.31, 100 * 0.1159, 0.91, 17, 0.5, 1e-5, 4096} <= numbers


def test_json_comes_back_and_has_a_schema() -> None:
    import msgspec

    assert msgspec.json.decode(records.encode(ALL), type=Report) == ALL
    assert set(records.schema(Report)["$defs"]["Report"]["properties"]) == set(Report.__struct_fields__)


def test_junit_counts_what_has_a_limit() -> None:
    root = Xml.fromstring(junit(ALL))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["before", "after", "comparison with the baseline", "layer by layer"]
    assert [(suite.get("tests"), suite.get("failures")) for suite in root] == [
        ("1", "0"),
        ("2", "1"),
        ("2", "1"),
        ("4", "2"),
    ]
    assert (root.get("tests"), root.get("failures")) == ("9", "4")
    (failure,) = suites["after"].iter("failure")
    assert failure.get("message") == f"{BAD.value!r} ratio, expected <= 1.03 (budget), n = 2040"
    shown = {each.get("name"): each.get("value") for each in suites["before"].iter("property")}
    assert shown["kl.max"] == "0.02345678 nats"


def test_junit_survives_what_xml_cannot_hold() -> None:
    broken = replace(ONE.entries[0], name="a\x00b\x1b<&>\ud800")
    root = Xml.fromstring(junit(Report(entries=(broken,))))
    assert root[0].get("name") == "a\ufffdb\ufffd<&>\ufffd"


def test_markdown_is_tables_and_nothing_else() -> None:
    hostile = "<script>|`x` @team [a](b)\n# head *b*"
    of = replace(certificate(), source=replace(certificate().source, name=hostile))
    said = markdown(Report(entries=(Entry(name=hostile, location="x", certificate=of),)))
    assert "<script" not in said
    assert "@team" not in said
    assert "\n# head" not in said
    assert "[a]" not in said
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in said.splitlines() if line.startswith("|")}
    assert widths <= {4, 6}
    assert text("latency_1x32 ≤ 3 ms") == "latency_1x32 ≤ 3 ms"


def test_bars_grow_with_the_logarithm_and_stay_inside() -> None:
    drawn = growth(LAYERS)
    widths = [bar.width for bar in drawn.bars]
    assert widths[0] == 0
    assert 0 < widths[1] < widths[2] < widths[3] == WIDTH - LEFT - RIGHT
    assert [bar.outside for bar in drawn.bars] == [False, False, True, True]
    assert all(LEFT <= (bar.limit_x or LEFT) <= WIDTH for bar in drawn.bars)
    assert growth(DIVERGED.within).bars[1].limit_x is None
    assert growth([replace(LAYERS[0], scale=0.0)]).bars[0].width == 0


def test_the_front_leaves_out_what_another_bundle_beats() -> None:
    slow, fast = entry("slow", "float32", 8.0), entry("fast", "int8", 2.0)
    worse = entry("worse", "int4", 3.0)
    poor = replace(worse.certificate.checked.findings[0], value=0.9)
    checked = replace(worse.certificate.checked, findings=(poor,))
    worse = replace(worse, certificate=replace(worse.certificate, checked=checked))
    drawn = front(Report(entries=(slow, fast, worse)))
    assert drawn is not None
    assert [point.best for point in drawn.points] == [False, True, False]
    assert drawn.points[1].x < drawn.points[2].x < drawn.points[0].x
    assert drawn.points[2].y > drawn.points[0].y == drawn.points[1].y  # pixels count from the top
    assert drawn.points[0].quality.name == "cosine.min"


def test_the_front_prefers_what_was_measured_on_the_users_data() -> None:
    drawn = front(ALL)
    assert drawn is not None
    assert [(point.quality.name, point.quality.value) for point in drawn.points] == [
        ("accuracy", 0.91),
        ("accuracy", 0.9),
    ]
    assert [point.best for point in drawn.points] == [True, True]
    assert front(ONE) is None
    (evaluated,) = ALL.evaluations
    apart = [replace(evaluated, systems=(system,)) for system in evaluated.systems]
    assert front(replace(ALL, evaluations=tuple(apart))) == drawn  # each of them in a file of its own
    other = (apart[0], replace(apart[1], data_digest="ef" * 32))
    assert front(replace(ALL, evaluations=other)) != drawn


def test_an_evaluation_is_of_the_bundle_with_its_digest_whatever_the_folder() -> None:
    """The folder's content may have changed since: what was evaluated is not what is there."""
    (evaluated,) = ALL.evaluations
    strange = tuple(replace(system, digest=digest(f"older {system.name}")) for system in evaluated.systems)
    drawn = front(replace(ALL, evaluations=(replace(evaluated, systems=strange),)))
    assert drawn is not None
    assert drawn.points[0].quality.name == "cosine.min"
    swapped = tuple(
        replace(system, location=other.location)
        for system, other in zip(evaluated.systems, reversed(evaluated.systems), strict=True)
    )
    drawn = front(replace(ALL, evaluations=(replace(evaluated, systems=swapped),)))
    assert drawn is not None
    assert [point.quality.value for point in drawn.points] == [0.91, 0.9]
    alone = tuple(replace(each, digest="") for each in ALL.entries)  # certificates, of which nobody knows the bundle
    drawn = front(replace(ALL, entries=alone))
    assert drawn is not None
    assert drawn.points[0].quality.name == "cosine.min"


def test_tables_say_which_bundle_was_evaluated() -> None:
    (evaluated,) = ALL.evaluations
    known, strange = evaluated.systems
    strange = replace(strange, name="bundle", location="artifacts/before", digest="ef" * 32)
    reference = replace(strange, name="reference", location="org/model", digest="ab" * 32)
    evaluated = replace(evaluated, systems=(replace(known, name="bundle", location="moved"), strange, reference))
    assert [(each.name, each.origin) for each in named(evaluated, ALL.entries)] == [
        ("before", f"sha256:{digest('before')[:12]}"),
        ("artifacts/before (sha256:efefefefefef)", "no bundle of this report has this digest"),
        ("reference", "org/model, checkpoint abababababab"),
    ]
    report = replace(ALL, evaluations=(evaluated,))
    rows = [line for line in markdown(report).splitlines() if line.startswith("| accuracy") and " to " in line]
    assert [text("artifacts/before (sha256:efefefefefef)") in row for row in rows[-3:]] == [False, True, False]
    for said in (html(report), markdown(report)):
        assert "no bundle of this report has this digest" in said
    assert "<td>artifacts/before (sha256:efefefefefef)</td>" in html(report)
    assert "no bundle of this report has this digest" not in html(ALL)


def test_changes_are_the_rows_that_differ() -> None:
    before, after = ALL.entries
    machine = replace(after.certificate.machine, cpu="Other 1")
    other = replace(after, certificate=replace(after.certificate, machine=machine, versions={"torch": "2.14.0"}))
    rows = {row.name: row.values for row in changes((before, other))}
    assert rows == {
        "precision": ("float32", "int8-dynamic"),
        "processor": ("Example 9000", "Other 1"),
        "version of torch": ("2.13.0", "2.14.0"),
        "version of onnxruntime-cpu": ("1.32.0", ""),
    }
    assert changes((before,)) == []


def test_a_pull_request_is_told_of_flips_and_changes() -> None:
    said = markdown(without_texts(ALL))
    assert "1 of 200 answers flipped" in said
    assert "What changed" in said
    assert "not enough data" in said
    assert "+11.59 %" in said


def test_the_change_of_parity_is_a_share_of_its_limit() -> None:
    (compared,) = ALL.comparisons
    verdict = replace(
        compared.verdicts[0], subject="parity", relative=False, unit="logits", change=0.25, low=None, high=None
    )
    report = replace(ALL, comparisons=(replace(compared, verdicts=(verdict,)),))
    assert "+25 % of the limit (exact)" in markdown(report)
    assert "% of the limit" in html(report)
    assert "25 % of the limit worse" in junit(report)
    assert verdict.scale == (100, "% of the limit")
    good = replace(ALL, entries=(ALL.entries[0],) * 2)
    assert 'class="mark fail"' in html(good)  # the bundles pass, the comparison does not
    assert 'class="mark pass"' in html(replace(good, comparisons=()))
    one = replace(good, entries=good.entries[:1])
    assert 'class="mark fail"' in html(one)
    assert "<title>fail: " in html(one)
    assert '<li class="fail">artifacts/after against artifacts/before FAIL (latency-increase:' in html(one)
    assert "<title>pass: " in html(replace(one, comparisons=()))
    assert '<li class="fail">artifacts' not in html(replace(one, comparisons=()))
    assert compared.verdicts[0].scale == (100, "%")
    assert compared.verdicts[1].scale == (1, "share")


def test_a_change_without_a_number_is_said_in_words() -> None:
    (compared,) = ALL.comparisons
    verdict = replace(
        compared.verdicts[0],
        subject="parity",
        name="output.nan",
        unit="values",
        relative=False,
        baseline=None,
        change=None,
        low=None,
        high=None,
        test="outside its own limit 0",
    )
    report = replace(ALL, comparisons=(replace(compared, verdicts=(verdict,)),))
    assert (
        "| parity output.nan | worse | none | 2.31 values | not within the limit | 3 % of the limit | 60 |"
        in markdown(report).replace("&#95;", "_")
    )
    assert ">not within the limit</td>" in html(report)
    case = Xml.fromstring(junit(report)).find(".//testcase[@classname='comparison.parity']/failure")
    assert case is not None
    message = case.get("message") or ""
    assert message.startswith("worse: none to 2.31 values, not within the limit, allowed 3 % of the limit, outside its")


def test_a_side_that_fails_by_itself_is_noted() -> None:
    (compared,) = ALL.comparisons
    report = replace(ALL, comparisons=(replace(compared, baseline=replace(compared.baseline, verdict="fail")),))
    assert text("artifacts/before is outside its own budget") in markdown(report)
    assert "artifacts/before is outside its own budget" in html(report)
    assert "outside its own budget" not in html(ALL)


def test_what_a_bundle_gives_away_is_said() -> None:
    leak = replace(ALL.entries[0].certificate.checked.findings[0], name="extraction.increase", value=0.5, limit=0.0,
                   better="lower", unit="share", samples=4)  # fmt: skip
    report = replace(ALL, evaluations=(replace(ALL.evaluations[0], findings=(leak,)),))
    assert Xml.fromstring(junit(report)).find("testsuite[@name='before on the data reviews.jsonl']") is not None
    assert "- before, extraction.increase: 0.5 share, **more than the reference**" in markdown(report)
    nobody = replace(report, evaluations=(replace(report.evaluations[0], systems=()),))
    assert all("no system" in write(nobody) for write in (html, markdown, junit))
    assert "more than the reference" in html(report)
    case = Xml.fromstring(junit(report)).find(".//testcase[@name='extraction.increase']/failure")
    assert case is not None

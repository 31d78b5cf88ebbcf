"""The page says what the certificate says: every number on it is one of the certificate's."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from compiler.records import (
    Certificate,
    Checked,
    Finding,
    Machine,
    Measured,
    PassRun,
    Placement,
    Runner,
    Series,
    Source,
)
from compiler.report import html as report_html
from compiler.report import single
from compiler.report.page import headlines, latencies
from compiler.statistics import ratio_of_medians, summarize

MACHINE = Machine(
    cpu="Example 9000",
    architecture="x86_64",
    features=("avx2", "avx512f"),
    physical_cores=2,
    logical_cores=4,
    memory_bytes=25_769_803_776,
    system="Linux 6.1",
    python="3.11.7",
)
GOOD = Finding(
    name="cosine.min",
    value=0.99871234,
    unit="cosine",
    samples=17,
    better="higher",
    limit=0.98,
    basis="budget min_cosine",
)
SHOWN = Finding(name="kl.max", value=0.02345678, unit="nats", samples=1021, better="lower")
BAD = Finding(
    name="perplexity.ratio", value=1.0567891, unit="ratio", samples=2040, better="lower", limit=1.03, basis="budget"
)
OURS = (2.11, 2.05, 2.2, 2.07, 3.9)
THEIRS = (10.3, 10.1, 9.9, 11.7, 10.2, 10.4)


def runner(name: str, samples: tuple[float, ...], disk_bytes: int) -> Runner:
    return Runner(
        name=name,
        version="1.0",
        threads=2,
        series=(Series(name="latency_1x32", unit="ms", better="lower", samples=samples),),
        load_seconds=0.4321,
        peak_memory_bytes=205_448_192,
        disk_bytes=disk_bytes,
    )


def certificate(*findings: Finding, measured: bool = True) -> Certificate:
    reasons = tuple(finding.name for finding in findings if not finding.passed)
    return Certificate(
        verdict="fail" if reasons else "pass",
        reasons=reasons,
        source=Source(kind="folder", name="models/example", digest="ab" * 32),
        task="feature-extraction",
        profile="cpu-x86-avx2",
        precision="int8-dynamic",
        budget={"min_cosine": 0.98},
        created="2026-11-24T06:00:00+00:00",
        passes=(
            PassRun(
                name="fuse-attention",
                options={"packed": True},
                modified=True,
                kept=True,
                nodes_before=412,
                nodes_after=377,
                seconds=0.0789,
                error=1.234567e-7,
            ),
            PassRun(
                name="fuse-gelu",
                options={},
                modified=True,
                kept=False,
                nodes_before=377,
                nodes_after=377,
                seconds=0.1,
                reason="answers changed",
            ),
        ),
        placement=(
            Placement(
                operator="MatMulInteger",
                provider="CPUExecutionProvider",
                precision="int8",
                count=36,
                time_share=0.71234,
                modules=("encoder.layer.0",),
            ),
        ),
        checked=Checked(precision="int8-dynamic", findings=findings, reasons=reasons, noise=3.4868e-6, seconds=8.765),
        measured=Measured(
            engine=runner("onnxruntime-cpu", OURS, 23_456_789),
            reference=runner("pytorch", THEIRS, 91_234_567),
            machine=MACHINE,
            seconds=12.3,
        )
        if measured
        else None,
        machine=MACHINE,
        versions={"torch": "2.13.0", "onnxruntime-cpu": "1.32.0"},
    )


def html(of: Certificate) -> str:
    """The page about one bundle."""
    return report_html(single(of, "example", "artifacts/example"))


class Page(HTMLParser):
    """The page's text, its numbers as (value, text), and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.numbers: list[tuple[float, str]] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self._open.append(tag)
        if tag == "data":
            self.numbers.append((float(dict(attrs)["value"] or "nan"), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._open and self._open[-1] == "data":
            self.numbers[-1] = (self.numbers[-1][0], data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def expected_numbers(of: Certificate) -> set[float]:
    """Everything the certificate holds or its samples give."""
    found: set[float] = {of.checked.noise, of.checked.seconds}
    for finding in of.checked.findings:
        found |= {finding.value, finding.samples} | ({finding.limit} if finding.limit is not None else set())
    for run in of.passes:
        found |= {run.nodes_before, run.nodes_after, run.seconds} | ({run.error} if run.error is not None else set())
    for placement in of.placement:
        found |= {placement.count, 100 * placement.time_share}
    found |= {of.machine.physical_cores, of.machine.logical_cores, of.machine.memory_bytes}
    if of.measured and of.measured.reference:
        for each in (of.measured.engine, of.measured.reference):
            found |= {each.disk_bytes, each.peak_memory_bytes, each.load_seconds, each.threads}
            found |= set(summarize(each.series[0].samples))
        found |= set(ratio_of_medians(THEIRS, OURS))
    return found


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("findings", [(GOOD, SHOWN), (GOOD, SHOWN, BAD)])
def test_every_number_is_the_certificates_and_all_of_them_are_there(
    findings: tuple[Finding, ...], measured: bool
) -> None:
    of = certificate(*findings, measured=measured)
    assert {value for value, _ in Page(html(of)).numbers} == expected_numbers(of)


def test_what_a_person_reads_is_the_value() -> None:
    for value, text in Page(html(certificate(GOOD, SHOWN, BAD))).numbers:
        scale = 1e6 if text.endswith(" MB") else 1.0
        read = float(text.removesuffix(" MB").replace(",", "")) * scale
        assert math.isclose(read, value, rel_tol=6e-4, abs_tol=0.05 * (scale - 1)), (value, text)


def test_the_first_screen_has_verdict_gain_and_cost_in_this_order() -> None:
    text = Page(html(certificate(GOOD, SHOWN, BAD))).text
    places = [text.index(words) for words in ("fail", "perplexity.ratio", "What was gained", "as fast as PyTorch")]
    places += [text.index(words) for words in ("What it cost", "Parity with PyTorch", "Latency", "Passes")]
    places += [text.index(words) for words in ("What really runs", "Environment", "Example 9000")]
    assert places == sorted(places)


def test_a_pass_has_no_reasons() -> None:
    text = Page(html(certificate(GOOD))).text
    assert "Outside its limits" not in text
    assert "pass models/example" in text


def test_the_cost_names_headlines_and_whatever_failed() -> None:
    odd = replace(BAD, name="cache.kl.mean")
    assert [finding.name for finding in headlines((GOOD, SHOWN, odd))] == ["cosine.min", "cache.kl.mean"]


def test_one_small_file_that_needs_no_network() -> None:
    text = html(certificate(GOOD, SHOWN))
    assert len(text.encode()) < 100_000
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe"}
    assert not [attributes for _, attributes in page.tags if {"src", "href"} & set(attributes)]
    assert "url(" not in text
    assert "@import" not in text


def test_many_samples_stay_below_two_megabytes() -> None:
    of = certificate(GOOD)
    assert of.measured is not None
    series = tuple(
        replace(of.measured.engine.series[0], name=f"latency_{i}", samples=tuple(1 + 0.001 * n for n in range(5000)))
        for i in range(8)
    )
    of = replace(of, measured=replace(of.measured, engine=replace(of.measured.engine, series=series)))
    assert len(html(of).encode()) < 2_000_000


def test_only_its_own_script_may_run() -> None:
    text = html(certificate(GOOD))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attributes["content"] for _, attributes in Page(text).tags if "http-equiv" in attributes)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not [name for _, attributes in Page(text).tags for name in attributes if name.startswith("on")]


def test_a_rate_is_better_when_it_is_higher() -> None:
    of = certificate(GOOD)
    assert of.measured is not None
    assert of.measured.reference is not None
    rate = Series(name="decode", unit="tokens/s", better="higher", samples=(40.0, 42.0, 41.0))
    slow = replace(rate, samples=(10.0, 10.5, 10.25))
    measured = replace(
        of.measured,
        engine=replace(of.measured.engine, series=(rate,)),
        reference=replace(of.measured.reference, series=(slow,)),
    )
    (latency,) = latencies(measured)
    assert latency.speedup is not None
    assert latency.speedup.value == pytest.approx(4.0)


def test_adapters_and_the_graphs_of_an_encoder_decoder_are_named() -> None:
    of = certificate(GOOD)
    of = replace(
        of,
        passes=tuple(replace(run, graph="encoder") for run in of.passes[:1]) + of.passes[1:],
        placement=(*of.placement, replace(of.placement[0], operator="Gather", graph="encoder")),
        checked=replace(of.checked, adapters={"legal": (replace(GOOD, value=0.98765),)}),
    )
    page = Page(html(of))
    assert "With the adapter legal" in page.text
    assert 0.98765 in {value for value, _ in page.numbers}
    assert page.text.count(" graph ") == 2  # the column's head, in both tables
    assert page.text.count("encoder") >= 2
    assert " graph " not in Page(html(certificate(GOOD))).text


def test_markup_in_names_stays_text() -> None:
    of = certificate(replace(GOOD, name="<b>x</b>"))
    of = replace(of, source=replace(of.source, name="<script>alert(1)</script>"))
    page = Page(html(of))
    assert [tag for tag, _ in page.tags if tag in {"script", "b"}] == ["script"]
    assert "<script>alert(1)</script>" in page.text


def test_nan_is_shown_as_what_it_is() -> None:
    numbers = Page(html(certificate(replace(GOOD, value=math.nan)))).numbers
    assert any(math.isnan(value) and text == "nan" for value, text in numbers)

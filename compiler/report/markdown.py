"""A report as GitHub Markdown, for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from compiler.records import Finding
from compiler.records.comparison import Compared, Flips, Token
from compiler.records.divergence import Diverged
from compiler.records.document import Report
from compiler.records.findings import text_of
from compiler.report.changes import changes
from compiler.report.evaluated import judged, named
from compiler.report.page import Bundle, bundle

SHOWN = 20  # flips
_PLAIN = frozenset(" .,:;/-+=%()_?'\u00d7\u2264\u2265\u2026")


def markdown(report: Report) -> str:
    """The text. Everything that came from outside is escaped, so that it stays text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    bundles = [bundle(entry) for entry in report.entries]
    for each in bundles:
        yield from _bundle(each)
    for compared in report.comparisons:
        yield from _comparison(compared)
    for evaluated in report.evaluations:
        systems = named(evaluated, report.entries)
        yield from ("", f"### On the data {text(evaluated.data)}", "")
        yield from (f"- {text(each.name)}: {text(each.origin)}" for each in systems)
        yield ""
        yield from _table(
            ("metric", "system", "value", "95 % interval", "n"),
            (
                (
                    metric.name,
                    each.name,
                    f"{metric.value:.4g} {metric.unit}",
                    f"{metric.low:.4g} to {metric.high:.4g}",
                    f"{metric.samples:,}",
                )
                for each in systems
                for metric in each.system.metrics
            ),
        )
        for finding in evaluated.findings:
            said = "no more than the reference" if finding.passed else "**more than the reference**"
            value = text(f"{finding.shown} {finding.unit}")
            subject = f"{judged(evaluated, report.entries)}, {finding.name}"
            yield f"- {text(subject)}: {value}, {said}, n = {finding.samples}"
    for diverged in report.divergences:
        yield from _layers(diverged)
    if (rows := changes(report.entries)) and not report.comparisons:
        yield from ("", "<details><summary>What changed</summary>", "")
        yield from _table(("what", *(each.name for each in bundles)), ((row.name, *row.values) for row in rows))
        yield from ("", "</details>")


def _bundle(of: Bundle) -> Iterator[str]:
    certificate = of.certificate
    yield f"## {certificate.verdict.upper()}: {text(of.name)}"
    yield ""
    yield text(f"{certificate.source.name}, {certificate.task}, {certificate.precision}, profile {certificate.profile}")
    if of.digest:
        yield text(f"{of.digest}, all files as they were sealed")
    if certificate.reasons:
        yield f"Outside its limits: {', '.join(f'**{text(reason)}**' for reason in certificate.reasons)}"
    yield ""
    gained = [
        (
            f"times PyTorch, {latency.name}",
            f"{latency.speedup.value:.3g} × ({latency.speedup.low:.3g} to {latency.speedup.high:.3g})",
            f"{latency.rows[0][1].n} and {latency.rows[1][1].n}",
        )
        for latency in of.latencies
        if latency.speedup
    ]
    disk = [(f"on disk, {each.name}", f"{each.disk_bytes / 1e6:,.1f} MB", "1") for each in of.runners]
    cost = [
        (text_of(each.name) or each.name, f"{each.shown} {each.unit}{_limit(each)}", f"{each.samples:,}")
        for each in of.cost
    ]
    yield from _table(("", "value", "n"), [*gained, *disk, *cost])
    if certificate.measured and (noisy := certificate.measured.unsteady):
        yield from ("", f"**Not steady, no figures to rely on:** {text(', '.join(each.text for each in noisy))}")
    yield from ("", "<details><summary>Parity with PyTorch float32</summary>", "")
    found = [("", each) for each in certificate.checked.findings]
    found += [(name, each) for name, findings in certificate.checked.adapters.items() for each in findings]
    yield from _table(
        ("finding", "value", "limit", "n", "verdict"),
        (
            (
                f"{name}: {each.name}" if name else each.name,
                f"{each.shown} {each.unit}",
                _limit(each).strip(" ,"),
                f"{each.samples:,}",
                _judged(each),
            )
            for name, each in found
        ),
    )
    yield from ("", "</details>", "")


def _comparison(compared: Compared) -> Iterator[str]:
    yield f"## {compared.verdict.upper()} against the baseline"
    yield ""
    yield text(f"{compared.candidate.location} in place of {compared.baseline.location}")
    if compared.reasons:
        yield f"Broken gates: {', '.join(f'**{text(reason)}**' for reason in compared.reasons)}"
    yield from (f"- likely cause: {text(cause.text)}" for cause in compared.causes)
    yield from (f"- {text(note)}" for note in (*compared.baseline.notes, *compared.candidate.notes))
    yield ""
    yield from _table(
        ("metric", "verdict", "baseline", "candidate", "change for the worse", "allowed", "n"),
        (
            (
                f"{each.subject} {each.name}",
                each.word,
                "none" if each.baseline is None else f"{each.shown.baseline} {each.unit}",
                f"{each.shown.candidate} {each.unit}",
                each.changed if each.change is None else f"{each.changed} ({each.interval})",
                each.allowed,
                f"{each.samples:,}",
            )
            for each in compared.verdicts
        ),
    )
    yield from (
        f"- {text(f'not enough data for {each.name}: {each.wanted}')}"
        for each in compared.verdicts
        if each.word == "not enough data"
    )
    if compared.flips:
        yield from _flips(compared.flips)
    if compared.changes:
        yield from ("", "<details><summary>What changed</summary>", "")
        rows = ((each.part, each.name, each.baseline, each.candidate) for each in compared.changes)
        yield from _table(("part", "what", "baseline", "candidate"), rows)
        yield from ("", "</details>")


def _token(token: Token) -> str:
    return str(token.index) if token.text is None else f"{token.index} ({token.text})"


def _flips(flips: Flips) -> Iterator[str]:
    said = f"{len(flips.flips)} of {flips.answers} answers flipped"
    if not flips.flips:
        yield from ("", text(said))
        return
    yield from ("", f"<details><summary>{text(said)}</summary>", "")
    yield from _table(
        ("row", "baseline", "candidate", "swing", "baseline's margin", "candidate's margin", "tokens that decided"),
        (
            (
                str(flip.item) if flip.place is None else f"{flip.item}, place {flip.place}",
                flip.baseline,
                flip.candidate,
                *(f"{value:.4g}" for value in (flip.swing, flip.baseline_margin, flip.candidate_margin)),
                ", ".join(f"{_token(token)}: {token.influence:+.4g}" for token in flip.tokens),
            )
            for flip in flips.flips[:SHOWN]
        ),
    )
    yield text("Margins, swings and influences are probabilities; rows, places and tokens are counted from 0.")
    if len(flips.flips) > SHOWN:
        yield text(f"The {SHOWN} with the largest swing.")
    yield from ("", "</details>")


def _layers(diverged: Diverged) -> Iterator[str]:
    where = f"first outside its limit: {text(diverged.first)}" if diverged.first else "every layer is within its limit"
    yield from ("", f"<details><summary>Layer by layer: {where}</summary>", "")
    yield from _table(
        ("module", "precision", "error", "of its scale", "limit", "values", "verdict"),
        (
            (
                layer.module,
                layer.precision,
                layer.shown,
                "" if layer.relative is None else f"{layer.relative:.4g}",
                layer.shown_limit,
                f"{layer.samples:,}",
                "" if layer.limit is None else "pass" if layer.passed else "FAIL",
            )
            for layer in (*diverged.layers, *diverged.within)
        ),
    )
    yield from ("", "</details>")


def _limit(finding: Finding) -> str:
    if finding.limit is None:
        return ""
    return f", {'≤' if finding.better == 'lower' else '≥'} {finding.shown_limit}"


def _judged(finding: Finding) -> str:
    if finding.limit is None:
        return ""
    return "pass" if finding.passed else "UNDECIDED" if finding.undecided else "FAIL"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(text(name) for name in header)} |"
    yield f"|{' --- |' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(text(cell) for cell in row)} |"


def text(words: str) -> str:
    """Words as Markdown that shows them as they are: no markup, no mentions, no new cells."""
    return "".join(each if each.isalnum() or each in _PLAIN else f"&#{ord(each)};" for each in words)

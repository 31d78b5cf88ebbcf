"""A report as JUnit XML, which every build server shows: a test case for everything that has a limit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as Xml

from compiler.records import Finding
from compiler.records.comparison import Compared
from compiler.records.divergence import Diverged
from compiler.records.document import Entry, Report
from compiler.report.evaluated import judged

# XML 1.0 has no place for these, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """The document, with a suite for each bundle, comparison, evaluation and search for a divergence.

    A failure has its numbers.
    """
    root = Xml.Element("testsuites", name="compile report")
    for entry in report.entries:
        _bundle(root, entry)
    for compared in report.comparisons:
        _comparison(root, compared)
    for evaluated in report.evaluations:
        if evaluated.findings:
            name = judged(evaluated, report.entries)
            suite = _suite(root, f"{name} on the data {evaluated.data}", "", evaluated.seconds)
            _findings(suite, "evaluation", evaluated.findings)
    for diverged in report.divergences:
        _layers(root, diverged)
    for suite in root:
        _count(suite)
    _count(root)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _bundle(root: Xml.Element, entry: Entry) -> None:
    certificate = entry.certificate
    suite = _suite(root, entry.name, certificate.created, certificate.checked.seconds)
    facts = {"verdict": certificate.verdict, "task": certificate.task, "profile": certificate.profile}
    facts |= {"precision": certificate.precision, "checkpoint": certificate.source.name}
    facts |= {"digest": entry.digest} if entry.digest else {}
    _findings(suite, entry.name, certificate.checked.findings)
    for name, findings in certificate.checked.adapters.items():
        _findings(suite, f"{entry.name}.{name}", findings)
    shown = {each.name: f"{each.value!r} {each.unit}" for each in certificate.checked.findings if each.limit is None}
    properties = Xml.Element("properties")
    for name, value in (facts | shown).items():
        Xml.SubElement(properties, "property", name=_clean(name), value=_clean(value))
    suite.insert(0, properties)


def _findings(suite: Xml.Element, group: str, findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.limit is None:
            continue
        sign = "<=" if finding.better == "lower" else ">="
        said = f"{finding.value!r} {finding.unit}, expected {sign} {finding.limit!r} ({finding.basis}), "
        _case(suite, group, finding.name, finding.passed, f"{said}n = {finding.samples}")


def _comparison(root: Xml.Element, compared: Compared) -> None:
    suite = _suite(root, "comparison with the baseline", compared.created, compared.seconds)
    causes = "; ".join(cause.text for cause in compared.causes)
    for each in compared.verdicts:
        before = "none" if each.baseline is None else repr(each.baseline)
        said = f"{each.word}: {before} to {each.candidate!r} {each.unit}, {each.changed}"
        said += f"{'' if each.change is None else ' worse'}, allowed {each.allowed}, {each.test}, "
        said += f"n = {each.samples}" + (f"; likeliest causes: {causes}" if causes else "")
        _case(suite, f"comparison.{each.subject}", each.name, not each.broken, said)


def _layers(root: Xml.Element, diverged: Diverged) -> None:
    suite = _suite(root, "layer by layer", "", diverged.seconds)
    for layer in diverged.layers:
        said = f"error {layer.error!r}, expected <= {layer.limit!r} ({diverged.basis}), n = {layer.samples}"
        _case(suite, "layers", layer.module, layer.passed, said)


def _suite(root: Xml.Element, name: str, created: str, seconds: float) -> Xml.Element:
    suite = Xml.SubElement(root, "testsuite", name=_clean(name), time=f"{seconds:.3f}")
    if created:
        suite.set("timestamp", _clean(created))
    return suite


def _case(suite: Xml.Element, group: str, name: str, passed: bool, said: str) -> None:
    case = Xml.SubElement(suite, "testcase", classname=_clean(group), name=_clean(name))
    if not passed:
        Xml.SubElement(case, "failure", message=_clean(said), type="limit")


def _count(element: Xml.Element) -> None:
    element.set("tests", str(len(element.findall(".//testcase"))))
    element.set("failures", str(len(element.findall(".//failure"))))
    element.set("errors", "0")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)

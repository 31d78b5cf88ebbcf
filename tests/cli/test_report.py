"""`compile report`: inputs of every kind, four formats, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import msgspec
import pytest

from compiler import bundle, records
from compiler.errors import InputError, IntegrityError, UsageError
from compiler.records import Finding
from compiler.records.document import Report
from tests.cli.conftest import Invoke
from tests.report.reports import COMPARED, DIVERGED, EVALUATED, SECRET


@pytest.fixture
def everything(certified: Path, tmp_path: Path) -> list[Path]:
    """A bundle, its certificate, and a file of each other kind."""
    found = [certified, certified / bundle.CERTIFICATE]
    for name, record in (("evaluated", EVALUATED), ("compared", COMPARED), ("diverged", DIVERGED)):
        found.append(tmp_path / f"{name}.json")
        records.save(record, found[-1])
    printed = tmp_path / "check.json"
    printed.write_bytes(msgspec.json.encode({"bundle": "x", "verdict": "fail", "checked": {}, "diverged": DIVERGED}))
    both = tmp_path / "compare.json"
    both.write_bytes(msgspec.json.encode({"compared": COMPARED, "error": {"exit_code": 9}}))
    return [*found, printed, both]


def test_json_holds_all_that_was_named(invoke: Invoke, everything: list[Path]) -> None:
    answer = invoke("report", *everything, "--format", "json")
    report = msgspec.json.decode(answer.stdout, type=Report)
    assert answer.code == 0
    assert [entry.location for entry in report.entries] == [str(everything[0]), str(everything[1])]
    assert report.entries[0].size_bytes == sum(file.size for file in bundle.read(everything[0]).files.values())
    assert report.entries[1].size_bytes is None
    assert len({entry.name for entry in report.entries}) == 2
    assert [each.verdicts for each in report.comparisons] == [COMPARED.verdicts] * 2
    assert report.evaluations[0].systems[0].metrics == EVALUATED.systems[0].metrics
    assert report.divergences == (DIVERGED, DIVERGED)


def test_texts_only_when_asked_for(invoke: Invoke, everything: list[Path]) -> None:
    for form in ("html", "markdown", "junit", "json"):
        assert SECRET not in invoke("report", *everything, "--format", form).stdout
    assert SECRET in invoke("report", *everything, "--include-texts").stdout


@pytest.mark.parametrize(
    ("name", "form"), [("r.html", "html"), ("r.md", "markdown"), ("r.xml", "junit"), ("r.json", "json")]
)
def test_the_format_follows_from_the_files_ending(
    invoke: Invoke, certified: Path, tmp_path: Path, name: str, form: str
) -> None:
    out = tmp_path / "new" / name
    answer = invoke("report", certified, "-o", out, "--json")
    assert answer.json == {"report": str(out), "format": form, "verdicts": {"bundle": "fail"}, "failures": []}
    said = out.read_text(encoding="utf-8")
    match form:
        case "html":
            assert said.startswith("<!doctype html>")
        case "markdown":
            assert said.startswith("## FAIL: bundle\n")
        case "junit":
            assert Xml.fromstring(said).get("failures") == "1"
        case "json":
            assert json.loads(said)["schema_version"] == 1
    assert invoke("report", certified, "-o", out).stdout == f"{out}: bundle fail\n"


def test_the_last_line_hides_no_failure(invoke: Invoke, certified: Path, everything: list[Path]) -> None:
    out = everything[3].with_name("r.xml")
    compared, diverged = everything[3:5]
    answer = invoke("report", certified, compared, diverged, "-o", out)
    assert answer.code == 0  # it was written; the gate is compare's
    failed = "artifacts/after against artifacts/before FAIL (latency-increase:latency_1x32)"
    layers = "layer by layer: model.layers.2 is outside its limit"
    assert answer.stdout == f"{out}: bundle fail; {failed}; {layers}\n"
    assert invoke("report", certified, compared, "-o", out, "--json").json["failures"] == [failed]
    fine = everything[3].with_name("fine.json")
    records.save(msgspec.structs.replace(COMPARED, verdict="pass", reasons=()), fine)
    assert invoke("report", certified, fine, "-o", out).stdout == f"{out}: bundle fail\n"
    leak = Finding(name="extraction.increase", value=0.5, unit="share", samples=4, better="lower", limit=0.0)
    records.save(msgspec.structs.replace(EVALUATED, findings=(leak,)), fine)
    assert "on reviews.jsonl FAIL (extraction.increase)\n" in invoke("report", certified, fine, "-o", out).stdout


@pytest.mark.parametrize("name", ["r.pdf", "r", "r.html.gz"])
def test_a_file_of_another_ending_is_refused(invoke: Invoke, certified: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "new" / name
    answer = invoke("report", certified, "-o", out)
    assert answer.code == UsageError.exit_code
    for word in (str(out), out.suffix or "no ending", ".html, .htm, .md, .xml, .json", "--format"):
        assert word in answer.stderr
    assert not out.parent.exists()
    assert invoke("report", certified, "-o", out, "--format", "markdown").code == 0
    assert out.read_text(encoding="utf-8").startswith("## FAIL: bundle\n")


def test_the_schema_is_published_and_describes_the_json(invoke: Invoke, certified: Path) -> None:
    schema = invoke("report", "--schema").json
    report = schema["$defs"]["Report"]
    assert set(invoke("report", certified, "--json").json) == set(report["properties"])
    assert report["additionalProperties"] is False


def test_a_sealed_folder_stays_as_it_is(invoke: Invoke, certified: Path, everything: list[Path]) -> None:
    for out in (certified / "report.html", everything[2]):
        answer = invoke("report", *everything, "-o", out, "--format", "html")
        assert answer.code == UsageError.exit_code
    bundle.verify(certified)


def test_what_cannot_be_reported_on(invoke: Invoke, certified: Path, everything: list[Path], tmp_path: Path) -> None:
    broken, other = tmp_path / "broken.json", tmp_path / "other.json"
    broken.write_text("{", encoding="utf-8")
    other.write_text('{"a": 1}', encoding="utf-8")
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"systems": 3}', encoding="utf-8")
    assert invoke("report").code == UsageError.exit_code
    assert invoke("report", everything[2]).code == InputError.exit_code
    for path in (broken, other):
        answer = invoke("report", certified, path)
        assert answer.code == InputError.exit_code
        assert str(path) in answer.stderr
    assert invoke("report", certified, wrong).code == IntegrityError.exit_code
    assert invoke("report", certified, "--json", "--format", "html").code == UsageError.exit_code
    (certified / bundle.CERTIFICATE).write_bytes((certified / bundle.CERTIFICATE).read_bytes() + b" ")
    assert invoke("report", certified).code == IntegrityError.exit_code

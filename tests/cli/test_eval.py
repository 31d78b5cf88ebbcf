from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from compiler import records
from compiler.evaluate import ratings
from compiler.records import Evaluated
from tests import models, understanding
from tests.evaluate.material import rows, write

Case = Callable[[str], understanding.Case]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data.jsonl", rows("text-classification", 8))


def test_a_bundle_beside_pytorch_and_another_bundle(invoke, case: Case, data: Path, tmp_path: Path) -> None:
    found = case("text-classification")
    out = tmp_path / "result.json"
    words = ("eval", found.bundle, "--data", data, "--against", found.bundle, "--reference", found.checkpoint)
    answer = invoke(*words, "--out", out, "--metrics", "accuracy,f1_macro", "--robustness", "case")
    assert answer.code == 0
    written = records.load(out, Evaluated)
    assert [system.name for system in written.systems] == ["bundle", "against", "reference"]
    line = next(line for line in answer.stdout.splitlines() if line.split()[:1] == ["accuracy"])
    metric = written.systems[0].metrics[0]
    assert f"{metric.value:.4g} ({metric.low:.4g} to {metric.high:.4g})" in line
    assert line.split()[-1] == "8"
    assert {"accuracy.case", "accuracy.case.drop"} <= {each.name for each in written.systems[0].metrics}
    assert answer.stderr.splitlines()[-1].endswith(f" s  {found.bundle} on {data}")


def test_json_alone_on_stdout(invoke, case: Case, data: Path) -> None:
    answer = invoke("eval", case("text-classification").bundle, "--data", data, "--no-reference", "--json")
    assert answer.code == 0
    result = msgspec.convert(answer.json, Evaluated)
    assert (result.items, len(result.systems)) == (8, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to evaluate"),
        (("--metrics", "acuracy"), 'did you mean "accuracy"'),
        (("--column", "text=body"), "no such column"),
        (("--column", "text"), "expected ROLE=NAME"),
        (("--robustness", "tpyos"), 'did you mean "typos"'),
        (("--limit", "0"), "--limit"),
    ],
)
def test_mistakes_are_usage_errors(invoke, case: Case, data: Path, words: tuple[str, ...], message: str) -> None:
    bundle = (case("text-classification").bundle, "--data", data) if words else ()
    answer = invoke("eval", *bundle, *words)
    assert answer.code == 2
    assert message in answer.stderr


def test_a_bundle_without_data(invoke, case: Case) -> None:
    answer = invoke("eval", case("text-classification").bundle)
    assert answer.code == 2
    assert "--data is missing" in answer.stderr


def test_people_compare_two_bundles(invoke, tmp_path: Path) -> None:
    one, two = (models.decoder_bundle(tmp_path / name) for name in ("one", "two"))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a b c\nb c\nc a a\n")
    page = tmp_path / "page.html"
    asked = ("eval", "--human", one, two, "--prompts", prompts, "--max-new-tokens", 4, "-o", page)
    assert invoke(*asked, "--json").json == {"page": str(page), "prompts": 3}
    text = page.read_text(encoding="utf-8")
    content = json.loads(text.partition('id="content">')[2].partition("</script>")[0])
    assert sorted(pair["prompt"] for pair in content["pairs"]) == ["a b c", "b c", "c a a"]
    assert all(pair["left"] == pair["right"] for pair in content["pairs"])  # the same weights
    files = []
    for rater, value in (("anna", 1), ("ben", 3)):
        given = [ratings.Rating(item=item, criterion="grammar", value=value) for item in range(3)]
        path = tmp_path / f"{rater}.json"
        path.write_bytes(
            msgspec.json.encode(
                ratings.Ratings(page=content["page"], rater=rater, sealed=content["sealed"], ratings=tuple(given))
            )
        )
        files.append(path)
    counted = invoke("eval", "--ratings", *files, "--json").json
    assert (counted["a"], counted["b"], counted["raters"]) == (str(one), str(two), 2)
    (grammar,) = counted["criteria"]
    assert (grammar["ties"], grammar["wins"] + grammar["losses"]) == (3, 3)
    shown = invoke("eval", "--ratings", *files).stdout
    assert f"{grammar['win_rate']:.3f}" in shown
    assert "2 raters, 3 prompts" in shown
    assert invoke("eval", "--ratings", *files, "--out", tmp_path / "counted.json").code == 0
    assert json.loads((tmp_path / "counted.json").read_text()) == counted


def test_a_page_needs_prompts(invoke, tmp_path: Path) -> None:
    bundle = models.decoder_bundle(tmp_path / "one")
    answer = invoke("eval", "--human", bundle, bundle)
    assert answer.code == 2
    assert "--prompts FILE" in answer.stderr
    answer = invoke("eval", "--human", bundle, bundle, "--prompts", bundle / "config.json", "-o", tmp_path / "page.pdf")
    assert answer.code == 2
    assert ".html" in answer.stderr


def test_where_the_result_goes_is_made_sure_before_any_work(invoke, case: Case, data: Path, tmp_path: Path) -> None:
    bundle = case("text-classification").bundle
    words = ("eval", bundle, "--data", data, "--no-reference", "--metrics", "accuracy", "--out")
    assert invoke(*words, tmp_path / "new" / "result.json").code == 0
    records.load(tmp_path / "new" / "result.json", Evaluated)
    for out in (bundle / "result.json", data, tmp_path, tmp_path / "result.pdf"):
        answer = invoke(*words, out)
        assert answer.code == 2
        assert str(out) in answer.stderr
        assert "evaluate" not in answer.stderr
    assert not (tmp_path / "result.pdf").exists()
    (tmp_path / "file").write_text("")
    assert invoke(*words, tmp_path / "file" / "result.json").code == 12


def test_a_row_of_a_sample_is_named_by_its_place_in_the_file(invoke, case: Case, tmp_path: Path) -> None:
    found = [{"sentence": "the storm", "label": "calm"}] * 40 + [{"sentence": "", "label": "calm"}] * 40
    data = write(tmp_path / "data.jsonl", found)
    answer = invoke("eval", case("text-classification").bundle, "--data", data, "--limit", 2, "--seed", 5)
    number = int(answer.stderr.partition("row ")[2].partition(":")[0])
    assert answer.code == 2
    assert number > 40

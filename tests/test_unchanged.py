"""scripts/unchanged: what it calls a difference, and what it takes for one of time or place."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"a": 1, "b": [1, {"c": 2}]}, {"a": 1, "b": [1, {"c": 2}]}, []),
        ({"a": 1}, {"a": 2}, ["/a: 1 became 2"]),
        ({"a": 1}, {}, ["/a: 1 became absent"]),
        ({}, {"a": None}, ["/a: absent became None"]),
        ({"a": [{"b": 1}, 5]}, {"a": [{"b": 2}, 5]}, ["/a/0/b: 1 became 2"]),
        ([1, 2, 3], [2, 3], ["/0: 1 is gone"]),
        ([2, 3], [2, 9, 3], ["/1: 9 is new"]),
        ([1, 2], [7, 8, 9], ["/0: 1 is gone", "/1: 2 is gone", "/0: 7 is new", "/1: 8 is new", "/2: 9 is new"]),
        (0, False, []),
        ("0", 0, ["/: 0 became 0"]),
    ],
)
def test_differences(before: object, after: object, lines: list[str]) -> None:
    from unchanged_table.observed import differences

    assert [line if line[0] == "/" else f"/{line}" for line in differences(before, after)] == lines


def test_times_are_no_difference() -> None:
    from unchanged_table.observed import timeless

    found = timeless(
        {"seconds": 3.2, "passes": [{"name": "a", "seconds": 1}], "said": "done 2026-11-28T10:00:00+00:00"}
    )
    assert found == {"passes": [{"name": "a"}], "said": "done TIME"}


def test_the_order_by_time_is_no_difference() -> None:
    """Nor the digests of files that hold a time."""
    from unchanged_table.observed import differences, timeless

    before, after = (
        {
            "placement": [{"operator": name, "count": 2, "time_share": share} for name, share in order],
            "files": {"certificate.json": {"sha256": order[0][0]}, "model.onnx": {"sha256": "same"}},
        }
        for order in ([("Add", 0.6), ("Mul", 0.4)], [("Mul", 0.7), ("Add", 0.3)])
    )
    assert list(differences(timeless(before), timeless(after))) == []
    after["placement"][1]["count"] = 3
    assert list(differences(timeless(before), timeless(after))) == ["/placement/0/count: 2 became 3"]
    assert timeless(['<testsuite time="60.701">', f"sha256:{64 * 'a'}, all"]) == [
        '<testsuite time="TIME">',
        "TIME, all",
    ]


def test_a_command_is_run_by_the_code_of_its_tree(tmp_path: Path) -> None:
    """Its exit code, its result without its own place, and its error only where it came to no result."""
    from unchanged_table.observed import Code, digests

    package = tmp_path / "tree" / "compiler"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(
        "import json, os, sys\n"
        "def main():\n"
        "    place = os.getcwd()\n"
        "    if sys.argv[1] == 'fail':\n"
        "        print('no such thing in', place, file=sys.stderr)\n"
        "        sys.exit(4)\n"
        "    open('made', 'w').write('a')\n"
        "    open('report.html', 'w').write(str(os.getpid()))\n"
        "    print(json.dumps({'place': place, 'words': sys.argv[1:], 'seconds': os.getpid()}))\n"
    )
    with Code(tmp_path / "tree", tmp_path / "side", libraries=()) as code:
        assert code.run(["go"]) == {"code": 0, "result": {"place": "FOLDER", "words": ["go"]}, "stderr": ""}
        assert code.run(["fail"]) == {"code": 4, "result": [], "stderr": "no such thing in FOLDER\n"}
    assert list(digests(code.folder)) == ["made"]


def test_a_build_that_fails_with_both_codes_is_no_sameness() -> None:
    from unchanged_table.__main__ import unbuilt

    assert list(unbuilt({"build": {"code": 0, "stderr": ""}})) == []
    assert list(unbuilt({"build": {"code": 8, "stderr": ""}})) == []
    assert list(unbuilt({"build": {"code": 4, "stderr": "no model"}})) == [
        "build: ends with 4 already at the commit: no model"
    ]


def test_commands_have_names_of_subjects_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from unchanged_table.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["HEAD", "--only", "nothing"])
    assert ended.value.code == 2

"""The page in a real browser: it draws, sorts by keyboard, has two themes, fits a phone, and complains of nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.report import html
from tests.report.chromium import Tab, browser, find
from tests.report.reports import ALL, ONE

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium here; install it with: apt-get install chromium")

COLUMN = """[...document.querySelector('[aria-label="parity"] table').tBodies[0].rows]
    .map((row) => row.cells[0].textContent)"""
FOCUSED = "document.activeElement.closest('th') && document.activeElement.textContent"
SORTED = "document.activeElement.closest('th').getAttribute('aria-sort')"
GROUND = "getComputedStyle(document.body).backgroundColor"
WHITE = "rgb(255, 255, 255)"
CHARTS = """[...document.querySelectorAll('svg')].filter((svg) => svg.checkVisibility()).map((svg) => {
    const box = svg.getBoundingClientRect();
    return {
        label: svg.getAttribute('aria-label'), width: box.width, height: box.height,
        drawn: svg.querySelectorAll('path, rect, circle').length,
    };
})"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    assert PROGRAM is not None
    with browser(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, report in (("one", ONE), ("all", ALL)):
        found[name] = folder / f"{name}.html"
        found[name].write_text(html(report), encoding="utf-8")
    return found


@pytest.mark.parametrize("name", ["one", "all"])
def test_charts_are_drawn_and_nothing_goes_wrong(tab: Tab, pages: dict[str, Path], name: str) -> None:
    tab.show(width=1200, height=900, theme="light")
    tab.open(pages[name])
    tab.js("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    charts = tab.js(CHARTS)
    labels = [chart["label"] for chart in charts]
    assert labels.count("all samples of latency_1x32") == {"one": 1, "all": 2}[name]
    assert "error of each layer" in labels
    assert ("all samples of latency_1x32 of both" in labels) == (name == "all")
    assert ("accuracy against latency_1x32" in labels) == (name == "all")
    for chart in charts:
        assert chart["width"] > 300
        assert chart["height"] > 40
        assert chart["drawn"] >= 2
    assert tab.problems == []


def test_tables_are_sorted_by_keyboard(tab: Tab, pages: dict[str, Path]) -> None:
    tab.show(width=1200, height=900, theme="light")
    tab.open(pages["one"])
    before = tab.js(COLUMN)
    assert before == ["cosine.min", "kl.max"]
    for _ in range(60):
        tab.press("Tab")
        if tab.js(FOCUSED) == "value":
            break
    assert tab.js(FOCUSED) == "value"
    tab.press("Enter")
    assert (tab.js(SORTED), tab.js(COLUMN)) == ("ascending", ["kl.max", "cosine.min"])
    tab.press(" ")
    assert (tab.js(SORTED), tab.js(COLUMN)) == ("descending", before)
    assert tab.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert tab.problems == []


def test_both_themes_by_preference_and_by_choice(tab: Tab, pages: dict[str, Path], tmp_path: Path) -> None:
    seen = {}
    for theme in ("light", "dark"):
        tab.show(width=1200, height=900, theme=theme)
        tab.open(pages["one"])
        seen[theme] = (tab.js(GROUND), tab.screenshot(tmp_path / f"{theme}.png"))
    assert seen["light"][0] == WHITE != seen["dark"][0]
    assert len(seen["dark"][1]) > 20_000
    tab.js("document.getElementById('theme').focus()")
    tab.press("Enter")
    assert tab.js(GROUND) == WHITE
    tab.press("Enter")
    assert tab.js(GROUND) == seen["dark"][0]
    assert tab.problems == []


@pytest.mark.parametrize("name", ["one", "all"])
def test_a_phone_scrolls_down_but_not_sideways(tab: Tab, pages: dict[str, Path], name: str, tmp_path: Path) -> None:
    tab.show(width=390, height=844, theme="light")
    tab.open(pages[name])
    assert tab.js("document.documentElement.scrollWidth") <= 390
    assert tab.js("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    assert len(tab.screenshot(tmp_path / "phone.png")) > 10_000
    first = tab.js("document.querySelector('.mark').getBoundingClientRect().bottom")
    gained = tab.js("document.querySelector('h2').getBoundingClientRect().bottom")
    assert 0 < first < gained < 844
    assert tab.problems == []

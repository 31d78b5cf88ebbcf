"""The comparison page in a real browser: rated from the keyboard alone, exported, counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.evaluate import human, ratings
from tests.report.chromium import Tab, browser, find

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium here; install it with: apt-get install chromium")

CAPTURE = """URL.createObjectURL = (blob) => { window.saved = blob; return '#'; };
    HTMLAnchorElement.prototype.click = () => {};"""
HOSTILE = "</script><script>document.title = 'broken'</script>"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    assert PROGRAM is not None
    with browser(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def press(tab: Tab, key: str) -> None:
    text = key if len(key) == 1 else ""
    tab.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
    tab.send("Input.dispatchKeyEvent", type="keyUp", key=key)


def test_rated_by_keyboard_and_counted(tab: Tab, tmp_path: Path) -> None:
    a, b = (["good", HOSTILE, "good"], ["bad", "bad", "bad"])
    page = tmp_path / "page.html"
    page.write_text(human.page(["p", "q", "r"], a, b, ("one", "two"), seed=3), encoding="utf-8")
    tab.show(width=400, height=800, theme="dark")
    tab.open(page)
    tab.js(CAPTURE)
    for _ in range(3):
        best = tab.js("document.getElementById('left').textContent") != "bad"
        for key in ("1" if best else "5", "3", "2" if best else "4"):
            press(tab, key)
    assert "All done" in tab.js("document.getElementById('status').textContent")
    press(tab, "e")
    assert "Write your name first" in tab.js("document.getElementById('status').textContent")
    assert tab.js("document.activeElement.id") == "rater"
    for letter in "eva1":
        press(tab, letter)
    tab.js("document.activeElement.blur()")
    press(tab, "e")
    text = tab.send("Runtime.evaluate", expression="saved.text()", awaitPromise=True, returnByValue=True)
    exported = tmp_path / "ratings.json"
    exported.write_text(text["result"]["value"], encoding="utf-8")
    counted = ratings.count([ratings.read(exported)])
    assert (counted.a, counted.b, counted.items) == ("one", "two", 3)
    rates = {each.criterion: each.win_rate for each in counted.criteria}
    assert rates == {"coherence": 1, "informativeness": 0.5, "grammar": 1}
    assert ratings.read(exported).rater == "eva1"
    assert tab.js("document.title") == "Which answer is better?"
    assert tab.js("document.documentElement.scrollWidth <= innerWidth")
    assert tab.problems == []
    tab.js("exported = true")

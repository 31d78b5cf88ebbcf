"""How long a user waits before anything happens, in starts of an empty interpreter."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.figure import Figure, Row, attempt, times_as_long
from benchmarks.process import OWN_PYTHON, seconds_of
from benchmarks.settings import Settings

HELP = "compile --help, over python -c pass"
IMPORT = "import compiler, over python -c pass"


def rows(settings: Settings) -> Iterable[Row]:
    return attempt([HELP, IMPORT], lambda: _figures(settings))


def _figures(settings: Settings) -> Iterable[Figure]:
    python = str(OWN_PYTHON)
    commands = ([OWN_PYTHON.with_name("compile"), "--help"], [python, "-c", "import compiler"], [python, "-c", "pass"])
    taken = [[seconds_of([str(word) for word in command]) for command in commands] for _ in range(settings.starts)]
    shown, imported, empty = zip(*taken, strict=True)
    yield times_as_long(HELP, shown, empty, target=15)
    yield times_as_long(IMPORT, imported, empty, target=5)

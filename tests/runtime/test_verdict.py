"""A bundle that failed says so when it is loaded, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiler.runtime import VerdictWarning, load, verdict
from tests import models
from tests.conftest import ROOT


def test_a_bundle_that_failed_warns(encoder_folder: Path, tmp_path: Path) -> None:
    folder = models.failed(encoder_folder, tmp_path / "failed")
    verdict._warn_once.cache_clear()
    with pytest.warns(VerdictWarning, match='failed: its certificate says "fail": perplexity-ratio') as caught:
        load(folder).close()
    assert [each.filename for each in caught] == [__file__]


def test_an_application_sees_it_once(encoder_folder: Path, tmp_path: Path) -> None:
    folder = models.failed(encoder_folder, tmp_path / "failed")
    code = f"import compiler\nfor _ in range(3): compiler.load({str(folder)!r}).close()"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stderr.count("VerdictWarning") == 1

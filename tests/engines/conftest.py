from __future__ import annotations

from pathlib import Path

import pytest

from tests import models
from tests.engines.decoders import LAYOUTS


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for layout in LAYOUTS:
        made[layout] = tmp_path_factory.mktemp(layout)
        models.decoder(made[layout] / "model.onnx", layout)
    return made

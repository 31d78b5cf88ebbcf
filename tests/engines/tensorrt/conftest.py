from __future__ import annotations

from pathlib import Path

import pytest

from compiler import driver
from compiler.driver import Device
from compiler.engines.tensorrt import flavors
from compiler.records import Plan
from tests import models
from tests.engines.tensorrt.encoders import LARGE, SMALL
from tests.engines.tensorrt.sessions import write_plan


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an L4, for those who ask the driver, and a TensorRT that has not been used yet."""
    monkeypatch.setattr(driver, "devices", lambda: (Device("NVIDIA L4", "8.9", 24 << 30, "13.0"),))
    monkeypatch.setattr(driver, "why_none", lambda: "")
    monkeypatch.setattr(flavors, "_LOGGERS", {})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


@pytest.fixture
def encoder(model: Path) -> Plan:
    return write_plan(model, models.encoder(model), [SMALL, LARGE])

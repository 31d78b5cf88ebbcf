from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.runtime import Model, load
from tests import models


@pytest.fixture(scope="session")
def decoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.decoder_bundle(tmp_path_factory.mktemp("decoder") / "bundle")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.encoder_bundle(tmp_path_factory.mktemp("encoder") / "bundle")


@pytest.fixture(scope="session", params=["shared", "concatenated"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """The same model in both cache layouts."""
    folder = models.decoder_bundle(tmp_path_factory.mktemp("decoder") / "bundle", layout=request.param)
    with load(folder) as model:
        yield model


@pytest.fixture(scope="session")
def encoder(encoder_folder: Path) -> Iterator[Model]:
    with load(encoder_folder) as model:
        yield model

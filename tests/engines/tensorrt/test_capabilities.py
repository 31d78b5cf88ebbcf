"""Number formats against GPUs, before anything is built."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from compiler.engines.plans.capabilities import (
    CAPABILITIES,
    FORMATS,
    check_flavor,
    check_formats,
    described,
    target_of,
)
from compiler.engines.tensorrt.builder import sources
from compiler.errors import EngineUnavailableError, ProfileError
from tests.engines.tensorrt import graphs


@pytest.mark.parametrize(
    ("target", "format_", "needs"),
    [
        ("sm75", "bfloat16", "bfloat16 needs sm80 or later"),
        ("sm75", "int4", "int4 needs sm80 or later"),
        ("sm80", "float8", "float8 needs sm89 or later"),
        ("sm86", "float8", "float8 needs sm89 or later"),
        ("sm87", "float8", "float8 needs sm89 or later"),
        ("sm89", "float4", "float4 needs sm100 or later"),
        ("sm90", "float4", "float4 needs sm100 or later"),
    ],
)
def test_a_format_that_the_gpu_lacks_is_refused_with_what_it_needs(target: str, format_: str, needs: str) -> None:
    with pytest.raises(EngineUnavailableError) as raised:
        check_formats([target], (format_, "float32"))
    assert raised.value.exit_code == 10
    assert raised.value.subject == f"{described(target)} cannot compute with {format_}"
    assert raised.value.expected == needs


@pytest.mark.parametrize("target", CAPABILITIES)
def test_what_it_has_passes(target: str) -> None:
    check_formats([target], CAPABILITIES[target].formats | {"int64", "bool"})


def test_every_target_is_looked_at() -> None:
    check_formats(["sm89", "sm120"], ["float8"])
    with pytest.raises(EngineUnavailableError, match="sm89"):
        check_formats(["sm120", "sm89"], ["float4"])


def test_capabilities_only_grow() -> None:
    """So that "or later" is true."""
    rows = list(CAPABILITIES.values())
    for row, later in itertools.pairwise(rows):
        assert row.formats <= later.formats
    assert set(FORMATS) == rows[-1].formats - {"float32"}


def test_what_only_rtx_lacks_is_said_of_it() -> None:
    check_formats(["sm75"], ["int8"])
    check_flavor("tensorrt", "sm75", ["int8"])
    check_flavor("tensorrt-rtx", "sm86", ["int8"])
    with pytest.raises(EngineUnavailableError, match="tensorrt-rtx does not compute with int8 on sm75"):
        check_flavor("tensorrt-rtx", "sm75", ["int8"])


def test_an_unknown_target_is_a_mistake_in_the_profile() -> None:
    with pytest.raises(ProfileError, match="sm88"):
        check_formats(["sm88"], ())


def test_a_device_names_its_target() -> None:
    assert target_of("8.9") == "sm89"
    assert target_of("12.0") == "sm120"


@pytest.mark.parametrize("format_", graphs.QUANTIZED)
def test_formats_are_found_in_the_graph(tmp_path: Path, format_: str) -> None:
    graphs.quantized(tmp_path / "model.onnx", format_)
    assert sources.read(tmp_path / "model.onnx").formats == {"float16", format_}


def test_a_cast_alone_counts(tmp_path: Path) -> None:
    graphs.encoder(tmp_path / "model.onnx")
    source = sources.read(tmp_path / "model.onnx")
    assert source.formats == {"float32"}
    assert {node.module for node in source.nodes} >= {"embeddings", "layer.0.attention", ""}

"""Builder flags by name, and the timing cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.builder import settings, timing
from compiler.engines.tensorrt.flavors import Flavor, flavor_for
from compiler.errors import EngineError, EngineUnavailableError
from compiler.records import Gpu
from tests.engines.tensorrt import graphs


@pytest.fixture(scope="module")
def rtx() -> Flavor:
    return flavor_for("sm89")


def builder(rtx: Flavor) -> settings.objects.Builder:
    return rtx.module.Builder(flavors.logger(rtx))


def test_options_become_flags_and_tf32_is_off(rtx: Flavor) -> None:
    asked = graphs.options("sm89", weight_streaming=True, strip=True, optimization_level=1, workspace_bytes=1 << 20)
    config = settings.configure(rtx, builder(rtx), asked, "sm89", [{"x": ((1,), (2,), (4,))}])
    assert settings.set_flags(rtx.module, config) == ("REFIT_IDENTICAL", "STRIP_PLAN", "WEIGHT_STREAMING")
    assert config.builder_optimization_level == 1


def test_a_target_that_tensorrt_does_not_know_is_refused(rtx: Flavor) -> None:
    with pytest.raises(EngineUnavailableError, match="has no SM90") as raised:
        settings.configure(rtx, builder(rtx), graphs.options("sm90"), "sm90", [])
    assert "SM89" in raised.value.expected


def test_a_profile_that_tensorrt_refuses_is_named(rtx: Flavor) -> None:
    with flavors.messages(), pytest.raises(EngineError, match="refuses bucket 1 of shapes"):
        settings.configure(rtx, builder(rtx), graphs.options("sm89"), "sm89", [{"x": ((4,), (2,), (1,))}])


@pytest.mark.parametrize("changes", [{"strip": True}, {"weight_streaming": True}, {"optimization_level": 5}])
def test_what_rtx_can_do_with_a_driver_passes(rtx: Flavor, changes: dict[str, object]) -> None:
    settings.check(graphs.options("sm89", **changes), rtx, "sm89", driver=True)


def test_tensorrt_itself_can_do_all_but_ampere_on_turing() -> None:
    full = Flavor("tensorrt", "11.4.0.106", flavor_for("sm89").module)
    asked = graphs.options("sm75", version_compatible=True, strip=True, hardware_compatible="same-compute-capability")
    settings.check(asked, full, "sm75", driver=True)
    with pytest.raises(EngineUnavailableError, match="sm75 is older than Ampere"):
        settings.check(graphs.options("sm75", hardware_compatible="ampere-plus"), full, "sm75", driver=True)


@pytest.mark.filterwarnings("ignore:Use Deprecated:DeprecationWarning")
def test_a_timing_cache_is_kept_for_a_gpu_and_a_version(rtx: Flavor, tmp_path: Path) -> None:
    """The calls are real; what TensorRT for RTX writes has nothing in it."""
    config = builder(rtx).create_builder_config()
    file = tmp_path / "timing" / "a.cache"
    with flavors.messages():
        timing.attach(config, file)
        timing.keep(config, file)
        timing.attach(config, file)
    assert [path.name for path in file.parent.iterdir()] == ["a.cache"]


def test_another_gpu_driver_or_version_has_another_cache(rtx: Flavor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", "/cache")
    gpu = Gpu(name="NVIDIA L4", compute_capability="8.9", memory_bytes=1, driver="13.0")
    place = timing.place(Flavor("tensorrt", "11.4.0.106", rtx.module), gpu)
    assert place == Path("/cache/timing/tensorrt-11.4.0.106-nvidia-l4-8.9-13.0.cache")
    other = Gpu(name="NVIDIA L4", compute_capability="8.9", memory_bytes=1, driver="13.1")
    assert timing.place(Flavor("tensorrt", "11.4.0.106", rtx.module), other) != place

"""What a profile's engine is opened with, and what is refused before any work is done."""

from __future__ import annotations

import msgspec
import pytest

from compiler import profile
from compiler.errors import EngineUnavailableError, UsageError
from compiler.records import EngineOptions
from compiler.traffic import Request
from compiler.validation.ready import ready


def test_engine_options_of_a_profile_with_plans() -> None:
    loaded = profile.load("nvidia-l4")
    options = profile.engine_options(loaded, "decoder")
    assert options.plans is not None
    assert options.plans.targets == ("sm89",)
    assert options.plans.shapes == loaded.decoder.shapes
    other = profile.engine_options(
        loaded, "encoder", targets=("sm120", "sm89", "sm120"), shapes=[{"sequence": (1, 2, 3)}]
    )
    assert other.plans is not None
    assert other.plans.targets == ("sm120", "sm89")
    assert other.plans.shapes == ({"sequence": (1, 2, 3)},)


def test_engine_options_of_a_profile_without_plans() -> None:
    loaded = profile.load("cpu-x86-avx2")
    assert profile.engine_options(loaded, "encoder") == EngineOptions()
    with pytest.raises(UsageError, match="takes no targets") as caught:
        profile.engine_options(loaded, "encoder", targets=("sm89",))
    assert "--profile" in caught.value.action
    with pytest.raises(UsageError, match="takes no traffic"):
        profile.engine_options(loaded, "encoder", shapes=[{"sequence": (1, 2, 3)}])


def test_usable_is_what_can_be_built_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = profile.load("nvidia-l4")
    monkeypatch.setattr("compiler.engines.tensorrt.ready", lambda *asked: None)
    monkeypatch.setattr("compiler.engines.tensorrt.runtime.choosing.why_no_bindings", lambda: None)
    assert profile.usable(loaded)
    monkeypatch.setattr("compiler.engines.tensorrt.runtime.choosing.why_no_bindings", lambda: "no bindings")
    assert not profile.usable(loaded)

    def refuse(options: EngineOptions) -> None:
        raise EngineUnavailableError("nothing builds for it")

    monkeypatch.setattr("compiler.engines.tensorrt.runtime.choosing.why_no_bindings", lambda: None)
    monkeypatch.setattr("compiler.engines.tensorrt.ready", refuse)
    assert not profile.usable(loaded)
    assert profile.usable(profile.load("cpu-x86-avx2"))


def test_a_target_that_lacks_the_precision_is_refused_before_any_work() -> None:
    loaded = profile.load("nvidia-l4")
    ready(loaded, precision="float8", targets=["sm89", "sm120"])
    ready(loaded, targets=["sm86"])
    with pytest.raises(EngineUnavailableError, match="cannot compute with float8") as caught:
        ready(loaded, precision="float8", targets=["sm89", "sm86"])
    assert "sm89 or later" in str(caught.value)
    with pytest.raises(UsageError, match="takes no targets"):
        ready(profile.load("cpu-x86-avx2"), targets=["sm89"])


def test_only_what_the_models_own_recipe_does_is_asked_of_the_target() -> None:
    loaded = profile.load("nvidia-l4")
    ready(loaded, ["encoder"], precision="int8", targets=["sm86"])
    eighth = {"int8": loaded.decoder.precisions["float8"]}
    changed = msgspec.structs.replace(loaded, decoder=msgspec.structs.replace(loaded.decoder, precisions=eighth))
    ready(changed, precision="int8", targets=["sm86"])  # it may be an encoder
    ready(changed, ["encoder"], precision="int8", targets=["sm86"])
    with pytest.raises(EngineUnavailableError, match="cannot compute with float8"):
        ready(changed, ["decoder"], precision="int8", targets=["sm86"])


def test_traffic_is_refused_before_any_work_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[EngineOptions] = []
    monkeypatch.setattr("compiler.engines.tensorrt.ready", lambda options, formats: asked.append(options))
    ready(profile.load("nvidia-l4"), traffic={Request(7, 0): 1})
    (options,) = asked
    assert options.plans is not None
    assert options.plans.shapes[0]["sequence"] == (1, 7, 16)
    with pytest.raises(UsageError, match="takes no traffic"):
        ready(profile.load("cpu-x86-avx2"), traffic={Request(7, 0): 1})

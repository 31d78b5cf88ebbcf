"""Which of a bundle's plans answers on which machine, and what is said where none does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compiler import driver
from compiler.driver import Device
from compiler.engines import tensorrt
from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
from compiler.engines.onnxruntime import cuda as onnxruntime_cuda
from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.flavors import Flavor
from compiler.engines.tensorrt.runtime import choosing
from compiler.engines.tensorrt.runtime.choosing import choose, open_chosen
from compiler.errors import EngineError, IntegrityError
from compiler.records import EngineOptions, Plan, Serving
from tests import models

OPTIONS = EngineOptions(threads=1, spinning=False)
FULL, RTX = "11.4.0.106", "1.7.1.116"
NO_DRIVER = "no NVIDIA driver here (libcuda.so.1 was not found); install one from nvidia.com/drivers"

Machine = Callable[..., None]


def plan(target: str = "sm89", flavor: str = "tensorrt", version: str = FULL, **changes: object) -> Plan:
    return Plan(
        target=target,
        file=f"plans/{target}.plan",
        sha256="0" * 64,
        size=1,
        flavor=flavor,  # type: ignore[arg-type]
        version=version,
        optimization_level=3,
        shapes=(),
        inputs=(),
        outputs=(),
        layers=(),
        model_sha256="0" * 64,
        key="0" * 64,
        seconds=0.0,
        **{"flags": (), **changes},  # type: ignore[arg-type]
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Sets what is here: the GPUs' compute capabilities, and versions by flavor."""

    def here(
        *capabilities: str, tensorrt: str = "", rtx: str = "", bindings: bool = True, cuda: str | None = "no"
    ) -> None:
        gpus = tuple(Device("some GPU", capability, 1 << 34, "13.0") for capability in capabilities)
        versions = {"tensorrt": tensorrt, "tensorrt-rtx": rtx}
        monkeypatch.setattr(driver, "devices", lambda: gpus)
        monkeypatch.setattr(driver, "why_none", lambda: "" if gpus else NO_DRIVER)
        monkeypatch.setattr(
            flavors,
            "probe",
            lambda name: Flavor(name, versions[name], None) if versions[name] else f"{name}, which is not installed",  # type: ignore[arg-type]
        )
        monkeypatch.setattr(choosing, "CUDA", "json" if bindings else "not_here.bindings")
        monkeypatch.setattr(onnxruntime_cuda, "why_unavailable", lambda: cuda)

    return here


def reason(*plans: Plan, options: EngineOptions = OPTIONS) -> str:
    """Why ONNX Runtime answers."""
    choice = choose(options, plans)
    assert choice.plan is None
    assert choice.serving.engine == onnxruntime_cpu.name
    assert choice.serving.version == onnxruntime_cpu.version()
    return choice.serving.reason


def test_the_plan_for_the_gpu_answers(machine: Machine) -> None:
    machine("8.9", tensorrt=FULL)
    choice = choose(OPTIONS, [plan("sm120"), plan("sm89")])
    assert choice.plan == plan("sm89")
    assert choice.serving == Serving(engine="tensorrt", version=FULL, reason="the GPU is sm89, and so is the plan")


def test_rtx_is_a_flavor_of_its_own(machine: Machine) -> None:
    machine("12.0", rtx=RTX)
    choice = choose(OPTIONS, [plan("sm120"), plan("sm120", "tensorrt-rtx", RTX)])
    assert choice.serving.engine == "tensorrt-rtx"
    assert choice.plan == plan("sm120", "tensorrt-rtx", RTX)


def test_without_plans(machine: Machine) -> None:
    machine()
    assert reason() == "there are no plans for this graph; ONNX Runtime runs the model itself"


def test_without_a_driver(machine: Machine) -> None:
    machine()
    assert reason(plan()) == f"{NO_DRIVER}; ONNX Runtime runs the model itself"


def test_another_gpu(machine: Machine) -> None:
    machine("8.6", tensorrt=FULL)
    assert reason(plan("sm89"), plan("sm120")) == (
        "the GPU is sm86, the bundle has plans for sm89 and sm120; ONNX Runtime runs the model itself on the CPU (no)"
    )


def test_onnx_runtime_takes_the_gpu_where_it_can(machine: Machine) -> None:
    machine("8.6", tensorrt=FULL, cuda=None)
    choice = choose(OPTIONS, [plan("sm89")])
    assert choice.serving.engine == onnxruntime_cuda.name
    assert choice.serving.reason == (
        "the GPU is sm86, the bundle has plans for sm89; ONNX Runtime runs the model itself on the GPU"
    )


def test_the_device_is_that_of_the_options(machine: Machine) -> None:
    machine("8.6", "8.9", tensorrt=FULL)
    second = EngineOptions(device=1)
    assert choose(second, [plan("sm89")]).plan is not None
    assert "the GPU is sm86" in reason(plan("sm89"))
    assert "there is no GPU 2 here, they are numbered 0 to 1" in reason(plan("sm89"), options=EngineOptions(device=2))


def test_a_flavor_that_is_not_installed(machine: Machine) -> None:
    machine("8.9", rtx=RTX)
    assert reason(plan("sm89")).startswith("the plan for sm89 needs tensorrt, which is not installed; ")


def test_a_plan_is_read_by_the_version_that_built_it(machine: Machine) -> None:
    machine("8.9", tensorrt="11.4.1.1")
    assert reason(plan("sm89")).startswith(
        "the plan for sm89 is of tensorrt 11.4.0.106; 11.4.1.1, which is here, cannot read it; "
    )


@pytest.mark.parametrize(
    ("versions", "flavor", "flags", "reads"),
    [
        (("11.4.0.106", "11.4.0.106"), "tensorrt", (), True),
        (("11.4.0.107", "11.4.0.106"), "tensorrt", (), False),
        (("11.5.0.1", "11.4.0.106"), "tensorrt", ("VERSION_COMPATIBLE",), True),
        (("11.3.0.1", "11.4.0.106"), "tensorrt", ("VERSION_COMPATIBLE",), False),
        (("11.0.0.1", "10.16.1.11"), "tensorrt", ("VERSION_COMPATIBLE",), True),
        (("12.0.0.1", "11.4.0.106"), "tensorrt", ("VERSION_COMPATIBLE",), False),
        (("10.16.1.11", "10.9.0.1"), "tensorrt", ("TF32", "VERSION_COMPATIBLE"), True),
        (("1.8.0.1", "1.7.1.116"), "tensorrt-rtx", ("VERSION_COMPATIBLE",), False),
        (("1.7.1.116", "1.7.1.116"), "tensorrt-rtx", (), True),
    ],
)
def test_which_version_reads_which_plan(
    machine: Machine, versions: tuple[str, str], flavor: str, flags: tuple[str, ...], reads: bool
) -> None:
    here, built = versions
    machine("8.9", **{flavor.removeprefix("tensorrt-"): here})
    assert (choose(OPTIONS, [plan("sm89", flavor, built, flags=flags)]).plan is not None) is reads


@pytest.mark.parametrize(
    ("gpu", "target", "level", "serves"),
    [
        ("8.6", "sm80", "ampere-plus", True),
        ("12.0", "sm80", "ampere-plus", True),
        ("7.5", "sm80", "ampere-plus", False),
        ("8.6", "sm80", "same-compute-capability", False),
        ("8.0", "sm80", "same-compute-capability", True),
        ("8.6", "sm80", "none", False),
    ],
)
def test_a_plan_may_serve_other_gpus(machine: Machine, gpu: str, target: str, level: str, serves: bool) -> None:
    machine(gpu, tensorrt=FULL)
    assert (choose(OPTIONS, [plan(target, hardware_compatible=level)]).plan is not None) is serves


def test_the_gpus_own_plan_comes_first(machine: Machine) -> None:
    machine("8.9", tensorrt=FULL)
    general, own = plan("sm80", hardware_compatible="ampere-plus"), plan("sm89")
    assert choose(OPTIONS, [general, own]).plan == own
    choice = choose(OPTIONS, [general, plan("sm89", version="10.16.1.11")])
    assert choice.plan == general
    assert choice.serving.reason == "the GPU is sm89, which the plan for sm80 serves too"


def test_without_cuda_python(machine: Machine) -> None:
    machine("8.9", tensorrt=FULL, bindings=False)
    assert "install it with: pip install cuda-bindings" in reason(plan("sm89"))


def test_the_model_itself_is_opened(machine: Machine, tmp_path: Path) -> None:
    machine()
    models.encoder(tmp_path / "model.onnx")
    session = open_chosen(tmp_path / "model.onnx", OPTIONS, [plan("sm89")])
    assert isinstance(session, OnnxRuntimeSession)


def test_a_chosen_plan_is_opened_and_not_replaced(machine: Machine, tmp_path: Path) -> None:
    """What cannot be trusted or opened is an error: nobody falls back from it."""
    machine("8.9", tensorrt=FULL)
    models.encoder(tmp_path / "model.onnx")
    with pytest.raises(IntegrityError, match=r"sm89\.plan"):
        tensorrt.open(tmp_path / "model.onnx", OPTIONS, [plan("sm89")])


def test_onnx_runtimes_own_failure_is_kept(machine: Machine, tmp_path: Path) -> None:
    machine()
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineError, match="cannot open"):
        open_chosen(tmp_path / "model.onnx", OPTIONS, [plan("sm89")])

"""Which flavor is here, which builds for what, and what it says."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.flavors import Flavor, flavor_for, installed, probe
from compiler.errors import EngineUnavailableError, ProfileError

Install = Callable[[str], None]


@pytest.fixture
def tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package called tensorrt with this text on the path."""
    before = sys.modules.pop("tensorrt", None)

    def install(text: str) -> None:
        (tmp_path / "tensorrt").mkdir()
        (tmp_path / "tensorrt" / "__init__.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("tensorrt", None)
    if before is not None:
        sys.modules["tensorrt"] = before


def test_rtx_is_here_with_its_four_part_version() -> None:
    (rtx,) = (flavor for flavor in installed() if flavor.name == "tensorrt-rtx")
    assert len(rtx.version.split(".")) == 4
    assert hasattr(rtx.module, "ComputeCapability")


def test_an_absent_wheel_is_a_reason_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(flavors.PACKAGES, "tensorrt", "no_such_tensorrt")
    assert probe("tensorrt") == (
        "tensorrt is not installed; install it with: pip install 'transformer-compiler[tensorrt]'"
    )
    assert list(flavors.absent()) == ["tensorrt"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "half installed: libnvinfer.so.10"),
        ("import tensorrt_that_is_missing", "half installed: No module named 'tensorrt_that_is_missing'"),
        ("raise OSError('libcudart.so.13: cannot open shared object file')", "half installed: libcudart.so.13"),
        ("", "half installed: tensorrt has no version"),
        ("__version__ = '10.11.0.33'", "10.11.0.33 is too old, 10.12 is the oldest"),
        ("__version__ = '8.6.1'", "8.6.1 is too old"),
    ],
)
def test_what_cannot_be_used_is_a_reason(tensorrt: Install, text: str, reason: str) -> None:
    tensorrt(text)
    found = probe("tensorrt")
    assert isinstance(found, str)
    assert reason in found
    assert "pip install" in found


def test_a_recent_one_is_taken(tensorrt: Install) -> None:
    tensorrt("__version__ = '10.12.0.36'")
    found = probe("tensorrt")
    assert isinstance(found, Flavor)
    assert found.version == "10.12.0.36"


@pytest.mark.parametrize("target", ["sm75", "sm80", "sm86", "sm89", "sm120", "sm121"])
def test_rtx_builds_for_gpus_that_are_not_here(target: str) -> None:
    assert flavor_for(target).name == "tensorrt-rtx"


def test_tensorrt_itself_is_taken_for_the_gpu_that_is_present(tensorrt: Install) -> None:
    tensorrt("__version__ = '11.4.0.106'")
    assert flavor_for("sm89", ["sm89"]).name == "tensorrt"
    assert flavor_for("sm90", ["sm90"]).name == "tensorrt"
    assert flavor_for("sm89", ["sm90"]).name == "tensorrt-rtx"


@pytest.mark.parametrize("target", ["sm87", "sm90", "sm100"])
def test_a_gpu_that_rtx_does_not_serve_says_what_does(target: str) -> None:
    with pytest.raises(EngineUnavailableError, match=target) as raised:
        flavor_for(target)
    assert raised.value.exit_code == 10
    assert "tensorrt is not installed" in raised.value.found
    assert "tensorrt-rtx does not serve it" in raised.value.expected
    assert "pip install 'transformer-compiler[tensorrt]'" in raised.value.action


def test_tensorrt_without_that_gpu_says_so(tensorrt: Install) -> None:
    tensorrt("__version__ = '11.4.0.106'")
    with pytest.raises(EngineUnavailableError) as raised:
        flavor_for("sm90", ["sm89"])
    assert "builds only for the GPU that is present" in raised.value.found
    assert "GPUs here: sm89" in raised.value.found


def test_nothing_installed_names_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt-rtx"):
        monkeypatch.setitem(flavors.PACKAGES, name, f"no_such_{name}")
    assert installed() == ()
    with pytest.raises(EngineUnavailableError) as raised:
        flavor_for("sm89")
    assert "tensorrt-rtx is not installed" in raised.value.found
    assert raised.value.action == "pip install 'transformer-compiler[tensorrt-rtx]'"


def test_an_unknown_target_is_corrected() -> None:
    with pytest.raises(ProfileError, match='did you mean "sm120"'):
        flavor_for("sm_120")


def _complain(flavor: Flavor, text: str) -> None:
    severity = flavor.module.ILogger.Severity
    flavors.logger(flavor).log(severity.ERROR, text)
    flavors.logger(flavor).log(severity.VERBOSE, f"{text}, in detail")


def test_there_is_one_logger_and_every_thread_hears_its_own_build() -> None:
    (rtx,) = (flavor for flavor in installed() if flavor.name == "tensorrt-rtx")
    heard: dict[str, list[str]] = {}
    both = threading.Barrier(2, timeout=20)

    def work(name: str) -> None:
        with flavors.messages() as found:
            both.wait()
            _complain(rtx, name)
            both.wait()
        heard[name] = [message.text for message in found]

    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {"first": ["first"], "second": ["second"]}
    assert flavors.logger(rtx) is flavors.logger(rtx)


def test_a_thread_of_tensorrt_itself_is_heard() -> None:
    (rtx,) = (flavor for flavor in installed() if flavor.name == "tensorrt-rtx")
    with flavors.messages() as found:
        worker = threading.Thread(target=_complain, args=(rtx, "from a worker"))
        worker.start()
        worker.join()
    assert [message.text for message in found] == ["from a worker"]
    _complain(rtx, "when nobody listens")
    assert len(found) == 1


def test_the_missing_driver_is_not_told_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (rtx,) = (flavor for flavor in installed() if flavor.name == "tensorrt-rtx")
    line = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In f at g: cudaError 35)"
    for driverless, expected in ((True, []), (False, [line])):
        native = flavors._native(rtx.module, driverless=driverless)
        with flavors.messages() as found:
            native.log(rtx.module.ILogger.Severity.ERROR, line)
        assert [message.text for message in found] == expected


def test_what_the_parser_logs_is_heard() -> None:
    (rtx,) = (flavor for flavor in installed() if flavor.name == "tensorrt-rtx")
    trt = rtx.module
    with flavors.messages() as found:
        builder = trt.Builder(flavors.logger(rtx))
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, flavors.logger(rtx))
        assert not parser.parse(b"no model")
    assert any(message.severity == "ERROR" for message in found)


def test_no_module_loads_tensorrt_when_imported() -> None:
    code = "import sys, compiler.engines.tensorrt.flavors, compiler.engines.tensorrt.builder.building\n"
    code += "assert not {'tensorrt', 'tensorrt_rtx', 'onnx'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])

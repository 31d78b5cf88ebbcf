from __future__ import annotations

import platform
from pathlib import Path

import pytest

from compiler import machine

X86 = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu avx avx2 fma avx512f avx512_vnni
bogomips\t: 4000.00

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
ARM = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd asimddp i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""
MAC = """machdep.cpu.brand_string: Apple M2
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 0
"""


def test_cpuinfo_of_x86_is_that_of_the_first_processor() -> None:
    name, flags = machine.parse_cpuinfo(X86)
    assert name == "Some CPU @ 2.00GHz"
    assert flags == {"fpu", "avx", "avx2", "fma", "avx512f", "avx512_vnni"}


def test_cpuinfo_of_arm_has_no_name() -> None:
    name, flags = machine.parse_cpuinfo(ARM)
    assert name == "Arm implementer 0x41 part 0xd40"
    assert flags >= {"asimd", "asimddp", "i8mm"}


def test_cpuinfo_without_facts() -> None:
    assert machine.parse_cpuinfo("") == ("", frozenset())


def test_sysctl_is_put_into_linux_words() -> None:
    assert machine.parse_sysctl(MAC) == ("Apple M2", frozenset({"asimd", "asimddp"}))


@pytest.mark.parametrize(
    ("architecture", "features", "expected"),
    [
        ("x86_64", ("avx2", "fma"), True),
        ("x86_64", ("avx2", "avx512f", "avx512bw"), True),
        ("x86_64", (), True),
        ("x86_64", ("avx2", "avx_vnni"), False),
        ("x86_64", ("avx512f", "avx512_vnni"), False),
        ("aarch64", ("asimd",), False),
    ],
)
def test_8_bit_products_overflow_on_x86_without_vnni(
    architecture: str, features: tuple[str, ...], expected: bool
) -> None:
    assert machine.saturates(architecture, features) == expected


def test_detect_finds_this_machine() -> None:
    found = machine.detect()
    assert found.cpu
    assert found.architecture == machine.ARCHITECTURES[platform.machine().lower()]
    assert 1 <= found.physical_cores <= found.logical_cores
    assert found.memory_bytes > 1 << 28
    assert found.python == platform.python_version()
    assert set(found.features) <= set(machine.FEATURES)


def test_a_container_limits_cores_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    found = machine.detect()
    assert (found.physical_cores, found.logical_cores, found.memory_bytes) == (1, 1, 1000000)
    assert [machine.threads(asked) for asked in (0, 1, 1000)] == [1, 1, 1]
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\nactive_file 100000\ninactive_file 200000\n")
    assert machine.available_memory() == 1000000 - 900000 + 300000


def test_a_container_without_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    limited = machine.detect()
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "none")
    assert machine.detect() == limited
    assert 1 << 20 < machine.available_memory() <= limited.memory_bytes

"""Loading a bundle reports to nobody: no host is looked up, nothing is written outside the cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SECONDS = 12  # onnxruntime 1.32 looks for its collector 9 s after the start

# Ends the process when it asks the kernel for a socket to other machines (which looking up a host takes, too): a
# seccomp filter, see seccomp(2) and struct seccomp_data.
FORBID_NETWORK = """
import ctypes, os, socket, struct
LOAD, EQUAL, RETURN, KILL, ALLOW = 0x20, 0x15, 0x06, 0x80000000, 0x7FFF0000
SOCKET = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
rules = [(LOAD, 0, 0, 0), (EQUAL, 0, 5, SOCKET), (LOAD, 0, 0, 16)]
rules += [(EQUAL, 2, 0, socket.AF_INET), (EQUAL, 1, 0, socket.AF_NETLINK), (EQUAL, 0, 1, socket.AF_INET6)]
rules += [(RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
"""


def run(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in an empty home, without the network, and without what tells libraries that this is a test."""
    home.mkdir()
    told = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME", "HF_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in told}
    return subprocess.run(
        [sys.executable, "-c", FORBID_NETWORK + code],
        env={**kept, "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(ROOT)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(
    os.uname().sysname != "Linux" or os.uname().machine not in ("x86_64", "aarch64"), reason="needs Linux's seccomp"
)
def test_loading_looks_up_no_host_and_leaves_nothing(decoder_bundle: Path, tmp_path: Path) -> None:
    assert run("socket.create_connection(('127.0.0.1', 9))", tmp_path / "trap").returncode == -signal.SIGSYS

    use = f"""
import time, compiler
with compiler.load({str(decoder_bundle)!r}) as model:
    print(model.generate("the cat", max_new_tokens=2, details=True).tokens)
    time.sleep({SECONDS})
"""
    home = tmp_path / "home"
    ended = run(use, home)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
    assert list(home.rglob("*")) == []


def test_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    code = "import compiler, os; print(*(os.environ[name] for name in compiler.SILENCED))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.split() == ["0", "1"]

"""Imports point one way: every module may use only what lies below it, and each heavy library has its place."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import closure
from compiler.closure import imported
from compiler.engines import ENGINES

ROOT = Path(__file__).parents[1] / "compiler"

# From the bottom up. Parts in one row do not know each other; a part may import any row below its own.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "closure", "progress", "figures"}),
    frozenset({"reading"}),
    frozenset({"records", "storage", "corpus", "statistics", "driver"}),
    frozenset({"inventory", "folders", "workers"}),
    frozenset({"tasks", "generation", "machine", "bundle", "cache", "traffic", "pooling", "context"}),
    frozenset({"checkpoint", "engines"}),
    frozenset({"profile"}),
    frozenset({"export", "optimize", "check", "measure", "report", "runtime"}),
    frozenset({"evaluate", "compare"}),
    frozenset({"validation"}),
    frozenset({"request"}),
    frozenset({"stages"}),
    frozenset({"pipeline"}),
    frozenset({"cli"}),
    frozenset({"__init__", "__main__"}),
)

# Validating a profile asks which passes exist; profile imports the validator only when it is asked to.
UPWARD = {("profile", "validation")}

# Libraries that only these parts may import, at the top of a module or inside a function.
HOMES: dict[str, frozenset[str]] = {
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "torch": frozenset({"checkpoint", "export"}),
    "transformers": frozenset({"checkpoint", "export"}),
    "onnxruntime": frozenset({"engines", "optimize"}),
    "tensorrt": frozenset({"engines"}),
    "tensorrt_rtx": frozenset({"engines"}),
    "cuda": frozenset({"engines"}),
    "gguf": frozenset({"checkpoint"}),
    "peft": frozenset({"checkpoint", "export"}),
    "sacrebleu": frozenset({"evaluate"}),
    "rouge_score": frozenset({"evaluate"}),
    "scipy": frozenset({"evaluate"}),
    "pyarrow": frozenset({"evaluate"}),
}

# What an application loads: these are importable with nothing of the build side installed.
LIGHT = ("compiler", "compiler.runtime", "compiler.engines", "compiler.bundle", "compiler.profile", "compiler.cli")
BUILD_SIDE = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "optimum", "safetensors", "gguf", "peft")

MODULES = sorted(ROOT.rglob("*.py"))


def part(module: Path) -> str:
    """The part of the architecture a file belongs to: `engines` for compiler/engines/x/y.py."""
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_part_has_a_place() -> None:
    known = frozenset().union(*LAYERS)
    assert {part(module) for module in MODULES} <= known


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_below(module: Path) -> None:
    own = part(module)
    rank = next(index for index, layer in enumerate(LAYERS) if own in layer)
    below = frozenset().union(*LAYERS[:rank])
    for name in imported(module):
        if not name.startswith("compiler."):
            continue
        other = name.split(".")[1]
        if other.startswith("__"):  # the package's own __version__
            continue
        assert other == own or other in below or (own, other) in UPWARD, (
            f"{module.relative_to(ROOT)} ({own}) imports {name}"
        )


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_stays_in_its_part(module: Path) -> None:
    for name in imported(module):
        library = name.split(".")[0]
        assert part(module) in HOMES.get(library, {part(module)}), f"{module.relative_to(ROOT)} imports {library}"


def test_the_runtime_side_needs_nothing_of_the_build_side() -> None:
    """Importing every module an application can reach loads no library that only building needs."""
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in BUILD_SIDE)
    imports = "".join(f"import {name}\n" for name in LIGHT)
    subprocess.run([sys.executable, "-c", f"import sys\n{blocked}{imports}"], check=True, cwd=ROOT.parent)


def test_import_compiler_loads_nothing_heavy() -> None:
    heavy = [*BUILD_SIDE, "onnxruntime", "numpy", "tokenizers", "click", "rich", "msgspec", "jinja2"]
    code = f"import sys, compiler\nprint(*sorted(set({heavy!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT.parent, capture_output=True, text=True)
    assert result.stdout.split() == []


def test_no_files_import_each_other() -> None:
    """Not even through others, or inside functions: each can be read, and tried, after those that it imports."""
    graph = {module: files_of(module) for module in MODULES}
    while leaves := [module for module, needs in graph.items() if not needs & graph.keys()]:
        for module in leaves:
            del graph[module]
    within = {module: needs & graph.keys() for module, needs in graph.items()}
    assert not within, "\n".join(
        f"{module.relative_to(ROOT)}: {', '.join(str(each.relative_to(ROOT)) for each in needs)}"
        for module, needs in within.items()
    )


def test_every_package_can_be_imported_first() -> None:
    """Packages run their own file before any module in them, which makes cycles that no file shows."""
    names = [".".join(("compiler", *path.parent.relative_to(ROOT).parts)) for path in ROOT.glob("**/__init__.py")]
    code = f"""
import importlib, sys
for name in {sorted(names)!r}:
    importlib.import_module(name)
    for loaded in [each for each in sys.modules if each.partition(".")[0] == "compiler"]:
        del sys.modules[loaded]
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def files_of(module: Path) -> set[Path]:
    """The files of this package that a file imports by name."""
    names = [name for name in imported(module) if name.startswith("compiler.")]
    return {path for name in names for path, named in closure.files(name) if named} - {module}


def test_every_engine_of_the_table_is_held_against_the_protocol_under_its_own_name() -> None:
    checked = re.search(
        r"_MODULES: tuple\[Engine, \.\.\.\] = \((.*?)\)", (ROOT / "engines" / "__init__.py").read_text()
    )
    assert checked is not None
    assert [name.replace("_", "-") for name in checked[1].split(", ")] == list(ENGINES)
    assert [importlib.import_module(module).name for module in ENGINES.values()] == list(ENGINES)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_engines_know_an_engine_by_name(module: Path) -> None:
    own = (*(f"{name}." for name in ENGINES.values()), "compiler.engines.onnxruntime.")
    if part(module) != "engines":
        assert [name for name in imported(module) if f"{name}.".startswith(own)] == []

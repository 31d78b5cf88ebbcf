"""What a stage's key covers: everything that its module imports, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compiler import closure
from compiler.engines import ENGINES


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one's own in place of this one."""
    root = tmp_path / "compiler"
    files = {
        "__init__.py": "def build():\n    from compiler import unused",
        "unused.py": "import torch",
        "a/__init__.py": "from compiler import b\ndef late():\n    from compiler import late",
        "a/module.py": "import json\nimport numpy.linalg\ndef f():\n    from ..c import name",
        "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from compiler import unused",
        "c.py": "name = 1",
        "late.py": "import tqdm",
        "d.py": "from compiler.a import module, late",
        "f.py": 'RUN = ["-m", "compiler.c", "compiler.no"]\nTABLE = {"x": "compiler.d"}',
        "e.py": "from compiler import e, c",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text)
    monkeypatch.setattr(closure, "ROOT", root)
    closure._imports.cache_clear()
    return root


def names(root: Path, *modules: str) -> tuple[set[str], set[str]]:
    found = closure.closure(*modules)
    return {path.relative_to(root).as_posix() for path in found.files}, set(found.libraries)


def test_imports_of_functions_count_and_those_for_types_do_not(tree: Path) -> None:
    assert names(tree, "compiler.a.module") == ({"a/module.py", "a/__init__.py", "b.py", "c.py"}, {"numpy"})


def test_functions_of_a_package_above_count_only_where_it_is_named(tree: Path) -> None:
    files, libraries = names(tree, "compiler.d")
    assert files == {"d.py", "a/module.py", "a/__init__.py", "b.py", "c.py", "late.py"}
    assert libraries == {"numpy", "tqdm"}


def test_a_program_for_another_process_counts_and_a_table_to_choose_from_does_not(tree: Path) -> None:
    assert names(tree, "compiler.f") == ({"f.py", "c.py"}, set())


def test_a_module_that_imports_itself_ends(tree: Path) -> None:
    assert names(tree, "compiler.e") == ({"e.py", "c.py"}, set())


def test_a_fingerprint_changes_with_a_file_far_away_and_with_a_package(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = closure.fingerprint("compiler.a.module")
    (tree / "unused.py").write_text("changed")
    closure.fingerprint.cache_clear()
    assert closure.fingerprint("compiler.a.module") == before
    (tree / "c.py").write_text("name = 2")
    closure.fingerprint.cache_clear()
    assert (changed := closure.fingerprint("compiler.a.module")) != before
    closure.fingerprint.cache_clear()
    monkeypatch.setattr(closure, "version", lambda _: "another")
    assert closure.fingerprint("compiler.a.module") != changed
    shutil.rmtree(tree)
    closure.fingerprint.cache_clear()


def parts(stage: str, *more: str) -> set[str]:
    found = closure.closure(f"compiler.stages.{stage}", *more)
    return {path.relative_to(closure.ROOT).as_posix() for path in found.files}


def test_a_change_in_one_engine_is_none_of_another() -> None:
    for stage in ("build", "check", "measure"):
        cpu = parts(stage, ENGINES["onnxruntime-cpu"])
        assert "engines/onnxruntime/decoding.py" in cpu
        assert not [name for name in cpu if "tensorrt" in name]
        assert "engines/tensorrt/builder/monitor.py" in parts("build", ENGINES["tensorrt"])


@pytest.mark.parametrize(
    ("stage", "needs", "libraries"),
    [
        ("export", ("checkpoint/load.py", "tasks.py", "generation.py", "export/trace.py"), ("torch", "tokenizers")),
        ("optimize", ("corpus.py", "engines/bfloat16.py"), ("tokenizers", "numpy", "ml_dtypes")),
        ("check", ("tasks.py", "records/lowering.py", "checkpoint/reference.py", "runtime/text.py"), ("tokenizers",)),
        ("measure", ("measure/worker.py", "measure/workloads.py", "records/proof.py", "tasks.py"), ("numpy", "torch")),
    ],
)
def test_what_decides_a_stage_is_in_its_closure(stage: str, needs: tuple[str, ...], libraries: tuple[str, ...]) -> None:
    found = closure.closure(f"compiler.stages.{stage}")
    assert set(needs) <= parts(stage)
    assert set(libraries) <= found.libraries

"""Plans on disk: written whole, read only when they are what was built."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from compiler.engines.plans import files as plans
from compiler.errors import EngineError, IntegrityError, StorageError
from compiler.records import Plan

CONTENT = bytes(range(256)) * 8


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A record, with its file in the folder."""
    return Plan(
        target="sm89",
        file="plans/sm89.plan",
        sha256=plans.write(memoryview(CONTENT), tmp_path / "plans/sm89.plan"),
        size=len(CONTENT),
        flavor="tensorrt-rtx",
        version="1.7.1.116",
        flags=(),
        optimization_level=3,
        shapes=(),
        inputs=(),
        outputs=(),
        layers=(),
        model_sha256="0",
        key="0",
        seconds=0.0,
    )


def test_what_was_written_is_read(plan: Plan, tmp_path: Path) -> None:
    assert plan.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert plans.read_verified(plan, tmp_path) == CONTENT
    assert [path.name for path in (tmp_path / "plans").iterdir()] == ["sm89.plan"]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"\0", b"", b"\xff" + CONTENT[1:]])
def test_another_file_is_never_read(plan: Plan, tmp_path: Path, content: bytes) -> None:
    (tmp_path / plan.file).write_bytes(content)
    with pytest.raises(IntegrityError, match="not the plan that was built") as raised:
        plans.read_verified(plan, tmp_path)
    assert raised.value.exit_code == 11


def test_a_record_that_was_changed_with_the_file_in_place_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        plans.read_verified(msgspec.structs.replace(plan, sha256="0" * 64), tmp_path)


def test_an_empty_plan_is_still_compared(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / plan.file).write_bytes(b"")
    with pytest.raises(IntegrityError):
        plans.read_verified(msgspec.structs.replace(plan, size=0), tmp_path)


def test_a_missing_file_is_named(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / plan.file).unlink()
    with pytest.raises(IntegrityError, match=r"sm89\.plan: cannot be read"):
        plans.read_verified(plan, tmp_path)


@pytest.mark.parametrize("name", ["../plans/sm89.plan", "/etc/passwd", "plans/../../x.plan", "plans\\x.plan", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(plan: Plan, tmp_path: Path, name: str) -> None:
    with pytest.raises(IntegrityError, match="leads elsewhere"):
        plans.read_verified(msgspec.structs.replace(plan, file=name), tmp_path)


def test_a_plan_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"sm89\.plan: cannot be written"):
        plans.write(memoryview(CONTENT), tmp_path / "plans/sm89.plan")
    assert [path.name for path in tmp_path.iterdir()] == ["plans"]


def test_what_a_killed_process_left_is_swept(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "plans" / ".sm89.plan.0a1b2c3d.partial").write_bytes(CONTENT[:9])
    plans.sweep(tmp_path / plan.file)
    assert [path.name for path in (tmp_path / "plans").iterdir()] == ["sm89.plan"]


def _header(size: int, magic: bytes = b"vtrt") -> bytes:
    return magic.ljust(16, b"\0") + size.to_bytes(8, "little") + bytes(40)


def test_a_header_tells_what_was_cut_short() -> None:
    plans.check_header(memoryview(_header(74) + bytes(10)), "tensorrt-rtx", "sm89")
    plans.check_header(memoryview(b"anything"), "tensorrt", "sm89")
    for content in (_header(74), _header(64, b"ptrt"), b"vtrt", b""):
        with pytest.raises(EngineError, match="sm89: tensorrt-rtx gave something that is not a whole plan"):
            plans.check_header(memoryview(content), "tensorrt-rtx", "sm89")


def test_file_names() -> None:
    assert plans.file_name("sm89") == "plans/sm89.plan"
    assert plans.file_name("sm89", "encoder") == "plans/sm89.encoder.plan"


def test_the_model_digest_covers_its_weights(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"graph")
    (tmp_path / "model.onnx.data").write_bytes(b"weights")
    first = plans.model_digest(model, ("model.onnx.data",))
    assert plans.model_digest(model, ()) != first
    (tmp_path / "model.onnx.data").write_bytes(b"others!")
    assert plans.model_digest(model, ("model.onnx.data",)) != first


def test_the_key_is_of_what_decided_the_plan(plan: Plan) -> None:
    first = plans.key(plan, workspace_bytes=0)
    assert plans.key(msgspec.structs.replace(plan, seconds=9.0, sha256="1"), workspace_bytes=0) == first
    assert plans.key(plan, workspace_bytes=1) != first
    for change in (
        {"target": "sm86"},
        {"version": "1.8.0.1"},
        {"flags": ("WEIGHT_STREAMING",)},
        {"optimization_level": 5},
        {"shapes": ({"x": ((1,), (1,), (2,))},)},
        {"model_sha256": "1"},
        {"hardware_compatible": "ampere-plus"},
        {"stripped": True},
        {"graph": "encoder"},
    ):
        assert plans.key(msgspec.structs.replace(plan, **change), workspace_bytes=0) != first

"""A bundle's plans on a machine with a GPU: their records, which one is chosen, and files with engines in them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from compiler import driver, records
from compiler.bundle.opened import refuse_hostile
from compiler.driver import Device
from compiler.engines.onnxruntime.tensorrt import packing
from compiler.engines.onnxruntime.tensorrt.opening import _fitting
from compiler.engines.onnxruntime.tensorrt.provider import _shapes
from compiler.engines.plans.files import read_verified
from compiler.engines.plans.selection import profile_for
from compiler.engines.plans.shapes import input_shapes
from compiler.engines.tensorrt import flavors
from compiler.engines.tensorrt.runtime import choosing
from compiler.errors import IntegrityError
from compiler.records import FileEntry, Manifest, Plan
from tests import models as tiny
from tests.fuzz.mutate import Cases, Dice, changed, to_json, zip_files
from tests.fuzz.reader import Reader

HERE = "10.13.3.9"
INPUTS, OUTPUTS = tiny.decoder_signature(shared=True)
BUCKET = dict.fromkeys(("batch", "sequence", "kept", "past_sequence", "total_sequence"), (1, 2, 4))
PLANS = tuple(
    Plan(
        target=target, file=f"plans/{target}.plan", sha256="0" * 64, size=4, flavor="tensorrt", version=version,
        flags=("VERSION_COMPATIBLE",), optimization_level=3, shapes=(input_shapes(BUCKET, INPUTS),), inputs=INPUTS,
        outputs=OUTPUTS, layers=(), model_sha256="0" * 64, key="0", seconds=1.0, hardware_compatible="ampere-plus",
    )
    for target, version in (("sm89", "10.12.0.36"), ("sm80", HERE))
)  # fmt: skip
ENTRY = FileEntry(size=4, sha256="0" * 64)
MANIFEST = msgspec.structs.replace(
    tiny.manifest("decoder", INPUTS, OUTPUTS, layout="shared"),
    engine="tensorrt",
    plans=PLANS,
    files={"model.onnx": ENTRY} | {plan.file: ENTRY for plan in PLANS},
)
FEEDS = {each.name: tuple(size if isinstance(size, int) else 2 for size in each.shape) for each in INPUTS}


def _manifests() -> Cases:
    written = records.encode(MANIFEST)

    def build(dice: Dice) -> bytes:
        tree = json.loads(written)
        part = dice.one(("plans", 0, 1, 0, 1, "options"))
        if isinstance(part, int):
            tree["plans"][part] = changed(tree["plans"][part], dice)
        else:
            tree[part] = changed(tree[part], dice)
        return to_json(tree)

    return build


def _planned(folder: Path) -> Callable[[bytes], object]:
    """All that is done with plans before TensorRT and CUDA are touched, as if both were here."""
    (folder / "plans").mkdir()
    for plan in PLANS:
        (folder / plan.file).write_bytes(b"vtrt")
    gpus = (Device("some GPU", "8.9", 1 << 34, "13.0"),)

    def run(content: bytes) -> object:
        manifest = records.parse(content, Manifest, "manifest.json")
        refuse_hostile(folder, manifest)
        with (
            patch.object(driver, "devices", lambda: gpus),
            patch.object(choosing, "why_no_bindings", lambda: None),
            patch.object(flavors, "probe", lambda name: flavors.Flavor(name, HERE, None)),  # type: ignore[arg-type]
        ):
            chosen = choosing.choose(manifest.options, manifest.plans)
        for plan in manifest.plans:
            _shapes(plan.inputs, plan.shapes)
        if chosen.plan is None:
            return _fitting(manifest.plans, "sm80", HERE)
        profile_for(chosen.plan, FEEDS)
        return read_verified(chosen.plan, folder)

    return run


def _unpacked(folder: Path) -> Callable[[bytes], object]:
    def run(content: bytes) -> object:
        place = folder / "private"
        place.mkdir(exist_ok=True)
        packing.unpack(content, place)
        for path in place.iterdir():
            path.unlink()
        return place

    return run


def archive(**names: bytes) -> bytes:
    """As `pack` makes it, with these contents."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for name, data in names.items():
            made.writestr(zipfile.ZipInfo(name.replace("_", ".")), data)
    return content.getvalue()


READERS = (
    Reader("plans", frozenset({2, 7, 10, 11}), _manifests(), _planned),
    Reader("engines", frozenset({11}), zip_files(archive(a_engine=b"0123456789", a_profile=b"01")), _unpacked),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_plans_are_refused(reader: Reader) -> None:
    reader.check()


def test_the_right_plan_is_chosen(tmp_path: Path) -> None:
    """It is opened no further: its digest is another."""
    with pytest.raises(IntegrityError, match=r"sm89\.plan: not the plan that was built"):
        _planned(tmp_path)(records.encode(MANIFEST))


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("shapes",), [{}], "without the shapes"),
        (("shapes",), [], "without the shapes"),
        (("shapes", 0, "input_ids"), [[1], [1], [1]], "without the shapes"),
        (("inputs", 0, "name"), "x", "without the shapes"),
        (("file",), "../x", "leads elsewhere"),
    ],
)
def test_records_of_plans_that_lack_something_are_refused(
    path: tuple[Any, ...], value: Any, found: str, tmp_path: Path
) -> None:
    tree = json.loads(records.encode(MANIFEST))
    place = tree["plans"][0]
    for each in path[:-1]:
        place = place[each]
    place[path[-1]] = value
    with pytest.raises(IntegrityError, match=found):
        _planned(tmp_path)(to_json(tree))


@pytest.mark.parametrize("version", ["", "x", "²", "9" * 5000, "10", "10.x.1"])
def test_a_version_of_any_spelling_is_compared(version: str, tmp_path: Path) -> None:
    tree = json.loads(records.encode(MANIFEST))
    for plan in tree["plans"]:
        plan["version"] = version
    READERS[0].judge(_planned(tmp_path), to_json(tree))


def test_engines_that_unpack_to_more_than_they_are_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.engine", bytes(10_000_000))
    with pytest.raises(IntegrityError, match="uncompressed"):
        _unpacked(tmp_path)(content.getvalue())
    _unpacked(tmp_path)(archive(a_engine=bytes(1000)))

"""Targets and recipes: what a profile with a recipe amounts to, and every mistake in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import profile
from compiler.errors import ProfileError
from compiler.records import Budget, PassChoice

TARGET = """
name = "mine"
description = "a test"
recipe = "tensorrt"
requires = { architecture = "x86_64", compute_capability = "8.9" }
[device]
name = "a GPU"
gpu_names = ["L4"]
compute_capability = "8.9"
memory_gb = 24
bandwidth_gb_s = 300
precisions = ["float32", "float16", "int8"]
source = ["a document"]
[sizes]
capacity = 777
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_a_target_takes_from_its_recipe_what_its_device_can(tmp_path: Path) -> None:
    loaded = profile.load(write(tmp_path, TARGET))
    assert loaded.engine == "tensorrt"
    for recipe in (loaded.encoder, loaded.decoder, loaded.encoder_decoder):
        assert recipe is not None
        assert set(recipe.precisions) == {"float32", "float16", "int8"}
        assert set(recipe.budgets) == {"float32", "float16"}
    assert loaded.decoder.passes[2] == PassChoice(name="scatter-cache", options={"capacity": 777})
    assert loaded.decoder.shapes[1]["total_sequence"] == (1, 256, 777)
    assert loaded.decoder.shapes[1]["batch"] == (1, 1, 16)  # the recipe's own size


def test_a_target_comes_before_its_recipe(tmp_path: Path) -> None:
    text = (
        TARGET
        + """
[precisions]
mine = [{ name = "quantize-static", format = "int8" }]
[encoder]
precision = "int8"
[encoder.precisions]
float16 = []
[encoder.budgets.mine]
min_cosine = 0.5
"""
    )
    loaded = profile.load(write(tmp_path, text))
    assert loaded.encoder.precision == "int8"
    assert loaded.encoder.precisions["float16"] == ()
    assert loaded.decoder.precisions["float16"] != ()
    assert loaded.decoder.precisions["mine"] == loaded.encoder.precisions["mine"]
    assert loaded.encoder.budget_of("mine") == Budget(min_cosine=0.5)
    assert loaded.decoder.budget_of("mine") == loaded.decoder.budget


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"tensorrt"', '"tensort"', 'recipe "tensort" is unknown; did you mean "tensorrt"?'),
        ('recipe = "tensorrt"', "recipe = 3", 'recipe "3" is unknown'),
        ("capacity = 777", "capacty = 777", 'size "capacty" is unknown; did you mean "capacity"?'),
        ("capacity = 777", "capacity = 'many'", "decoder.passes[2]"),
        ('recipe = "tensorrt"', "", "engine: missing key"),
        ("capacity = 777", 'capacity = 777\n[encoder]\npasses = [{ name = "scatter-cache", capacity = "$x" }]', "x"),
    ],
)
def test_each_mistake_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TARGET
    path = write(tmp_path, TARGET.replace(old, new))
    assert said in " | ".join(problem.text for problem in profile.validate(path))
    with pytest.raises(ProfileError):
        profile.load(path)


def test_a_pass_that_must_follow_another_is_told_from_its_place(tmp_path: Path) -> None:
    text = TARGET.replace('recipe = "tensorrt"', 'recipe = "onnxruntime-cpu"').partition("[sizes]")[0]
    assert profile.validate(write(tmp_path, text)) == []
    early = text + '[decoder.precisions]\nint8-dynamic = ["fuse-gelu", "quantize-per-token"]\n'
    (problem,) = profile.validate(write(tmp_path, early))
    assert problem.text == (
        'decoder.precisions.int8-dynamic[0]: "fuse-gelu" stands before "quantize-per-token"; it must follow it'
    )


def test_adding_a_precision_to_every_target_is_one_line_of_a_recipe() -> None:
    """Targets hold facts and sizes; what is done for a kind of model is in their recipes alone."""
    facts = {"name", "description", "recipe", "rank", "requires", "device", "sizes"}
    for name in profile.names():
        assert profile.read(profile.find(name)).keys() <= facts, name

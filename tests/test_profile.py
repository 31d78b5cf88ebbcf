from __future__ import annotations

from pathlib import Path

import pytest

from compiler import profile
from compiler.errors import EngineUnavailableError, ProfileError
from compiler.records import Budget, Machine, PassChoice

SHIPPED = profile.names()
BARE = """
name = "mine"
description = "a test"
engine = "onnxruntime-cpu"
[requires]
architecture = "x86_64"
[encoder]
precision = "float32"
passes = ["fold-constants"]
precisions.float32 = []
budget.min_cosine = 0.99
[decoder]
precision = "float32"
passes = ["fold-constants"]
precisions.float32 = []
precisions.int4-weights = [{ name = "quantize-weights", bits = 4, block_size = 32 }]
[decoder.budget]
max_perplexity_ratio = 1.03
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def machine(architecture: str, *features: str) -> Machine:
    return Machine(
        cpu="a test",
        architecture=architecture,
        features=features,
        physical_cores=1,
        logical_cores=1,
        memory_bytes=1,
        system="test",
        python="3.11",
    )


def mistakes(folder: Path, old: str, new: str) -> dict[str, profile.Problem]:
    assert old in BARE
    return {problem.path: problem for problem in profile.validate(write(folder, BARE.replace(old, new)))}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_profile_loads(name: str) -> None:
    loaded = profile.load(name)
    assert loaded.name == name
    for recipe in (loaded.encoder, loaded.decoder):
        assert "float32" in recipe.precisions
        assert recipe.precision in recipe.precisions


def test_a_precision_may_have_a_budget_of_its_own(tmp_path: Path) -> None:
    text = BARE.replace("[decoder.budget]", "budgets.int4-weights.max_kl_divergence = 0.9\n[decoder.budget]")
    recipe = profile.load(write(tmp_path, text)).decoder
    assert recipe.budget_of("int4-weights") == Budget(max_kl_divergence=0.9)
    assert recipe.budget_of("float32") == recipe.budget_of(None) == recipe.budget
    (problem,) = profile.validate(write(tmp_path, text.replace("budgets.int4-weights", "budgets.int4-weight")))
    assert problem.path == "decoder.budgets.int4-weight"
    assert problem.suggestion == 'did you mean "int4-weights"?'


@pytest.mark.parametrize(
    ("line", "path", "why"),
    [
        ("budgets.int4-weights.noise_factor = 2", "decoder.budgets.int4-weights.noise_factor", "only float32"),
        ("budgets.float32.min_greedy_agreement = 1", "decoder.budgets.float32.min_greedy_agreement", "ties aside"),
    ],
)
def test_a_limit_that_a_precision_is_not_held_against_is_a_mistake(
    tmp_path: Path, line: str, path: str, why: str
) -> None:
    text = BARE.replace("[decoder.budget]", f"{line}\n[decoder.budget]")
    (problem,) = profile.validate(write(tmp_path, text))
    assert (problem.path, problem.message) == (path, "would judge nothing")
    assert why in problem.suggestion


def test_every_shipped_profile_has_a_rank_of_its_own() -> None:
    ranks = [each.rank for each in profile.ranked()]
    assert ranks == list(range(1, len(SHIPPED) + 1))


def test_a_file_loads_by_path_with_names_and_tables_of_passes(tmp_path: Path) -> None:
    loaded = profile.load(write(tmp_path, BARE))
    assert loaded.recipe("encoder").passes == (PassChoice(name="fold-constants"),)
    (quantize,) = loaded.recipe("decoder").precisions["int4-weights"]
    assert quantize == PassChoice(name="quantize-weights", options={"bits": 4, "block_size": 32})
    assert loaded.decoder.budget.max_perplexity_ratio == 1.03
    assert loaded.decoder.budget.min_cosine is None
    assert loaded.threads == 0


def test_three_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = BARE.replace("block_size = 32", "blocksize = 32").replace('engine = "onnx', 'engine = "onx')
    path = write(tmp_path, text.replace("max_perplexity_ratio = 1.03", 'max_perplexity_ratio = "low"'))
    found = {problem.path: problem for problem in profile.validate(path)}
    assert set(found) == {
        "engine",
        "decoder.precisions.int4-weights[0].blocksize",
        "decoder.budget.max_perplexity_ratio",
    }
    assert all(problem.file == str(path) for problem in found.values())
    assert found["engine"].suggestion == 'did you mean "onnxruntime-cpu"?'
    assert found["decoder.precisions.int4-weights[0].blocksize"].suggestion == 'did you mean "block_size"?'
    with pytest.raises(ProfileError, match="3 mistakes") as caught:
        profile.load(path)
    assert caught.value.exit_code == 3
    assert all(part in str(caught.value) for part in (str(path), *found))


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ('description = "a test"', 'descripton = "a test"', "descripton", "unknown key"),
        ('description = "a test"', "", "description", "missing key"),
        ('["fold-constants"]\nprecisions.f', '["fold-constant"]\nprecisions.f', "encoder.passes[0]", "unknown pass"),
        ('["fold-constants"]\nprecisions.f', "[3]\nprecisions.f", "encoder.passes[0]", "expected a pass name"),
        ('["fold-constants"]\nprecisions.f', '"fold-constants"\nprecisions.f', "encoder.passes", "Expected `array`"),
        ('"x86_64"', '"x86-64"', "requires.architecture", "unknown architecture"),
        ('"x86_64"', '"x86_64"\nfeatures = ["avx512vnni"]', "requires.features[0]", "unknown CPU feature"),
        ('precision = "float32"', 'precision = "float23"', "encoder.precision", "unknown precision"),
        ("min_cosine = 0.99", "min_cosin = 0.99", "encoder.budget.min_cosin", "unknown key"),
        ("min_cosine = 0.99", "max_perplexity_ratio = 1.1", "encoder.budget.max_perplexity_ratio", "judge nothing"),
        ("min_cosine = 0.99", "min_greedy_agreement = 0.9", "encoder.budget.min_greedy_agreement", "judge nothing"),
        ("max_perplexity_ratio = 1.03", "min_cosine = 0.9", "decoder.budget.min_cosine", "no decoder is compared so"),
        ("min_cosine = 0.99", "min_cosine = 1.2", "encoder.budget.min_cosine", "Expected `float` <= 1"),
        ("bits = 4", 'bits = "four"', "decoder.precisions.int4-weights[0].bits", "found 'four'"),
        ('engine = "onnxruntime-cpu"', 'engine = "onnxruntime-cpu"\nthreads = -1', "threads", "Expected `int` >= 0"),
    ],
)
def test_each_mistake_names_its_place(tmp_path: Path, old: str, new: str, path: str, message: str) -> None:
    found = mistakes(tmp_path, old, new)
    assert path in found
    assert message in found[path].text


def test_a_table_in_place_of_a_value_is_a_mistake(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "[requires]\narchitecture", 'requires = "x"\n[other]\narchitecture')
    assert "expected a table" in found["requires"].text
    assert found["other"].message == "unknown key"


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    (problem,) = profile.validate(path)
    assert "not a readable TOML file" in problem.message


def test_passes_are_not_checked_without_the_build_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, BARE.replace("fold-constants", "from-the-future").replace('"x86_64"', "1"))
    assert {problem.path for problem in profile.validate(path)} > {"encoder.passes[0]"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert {problem.path for problem in profile.validate(path)} == {"requires.architecture"}
    assert "PassChoice" in profile.schema()["$defs"]


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ProfileError, match='did you mean "cpu-x86-avx2"') as caught:
        profile.load("cpu-x86-avx")
    assert caught.value.exit_code == 3


def test_auto_takes_the_best_that_fits() -> None:
    vnni = ("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")
    assert profile.auto(machine("x86_64", "avx2", "fma")).name == "cpu-x86-avx2"
    assert profile.auto(machine("x86_64", *vnni)).name == "cpu-x86-avx512-vnni"
    assert profile.auto(machine("x86_64", *vnni, "amx_tile", "amx_int8")).name == "cpu-x86-amx"
    assert profile.auto(machine("aarch64", "asimd", "asimddp")).name == "cpu-arm64-dotprod"


def test_auto_says_what_the_nearest_profile_needs() -> None:
    with pytest.raises(EngineUnavailableError, match=r"cpu-x86-avx2, the nearest, needs fma") as caught:
        profile.auto(machine("x86_64", "avx2"))
    assert caught.value.exit_code == 10


def test_auto_fits_this_machine() -> None:
    chosen = profile.load("auto")
    assert profile.missing(chosen, profile.detect()) == ()


def test_the_schema_knows_the_options_of_passes() -> None:
    schema = profile.schema()
    names, *tables = schema["$defs"]["PassChoice"]["anyOf"]
    assert "quantize-weights" in names["enum"]
    (quantize,) = (table for table in tables if table["properties"]["name"] == {"const": "quantize-weights"})
    assert "block_size" in quantize["properties"]
    assert quantize["additionalProperties"] is False

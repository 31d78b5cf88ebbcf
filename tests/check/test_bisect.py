"""A fault planted in one layer of a bundle is found there, whichever layer it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import numpy_helper

from compiler import bundle, pipeline
from compiler.check.bisect import JUMP, _judged_by_growth
from compiler.engines.onnxruntime import layer_outputs as watching
from compiler.records import Checked
from compiler.records.divergence import Layer
from tests import understanding

LAYERS = 6
LLAMA: dict[str, Any] = {
    "config": "LlamaConfig",
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
}
T5: dict[str, Any] = {
    "config": "T5Config",
    "num_hidden_layers": 3,
    "num_decoder_layers": 3,
    "num_heads": 2,
    "d_kv": 16,
    "d_ff": 64,
}
T5 |= {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 3}


class Built:
    """A bundle, and copies of it with one weight changed."""

    def __init__(self, folder: Path, model: str, task: str, precision: str = "float32", **settings: Any) -> None:
        self.checkpoint = understanding.checkpoint(folder / "checkpoint", model, **settings)
        checked = Checked(precision=precision, findings=(), reasons=(), noise=0.0, seconds=0.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("compiler.stages.check.run", lambda *_, **__: checked)  # it is not what is looked at here
            self.bundle = pipeline.build(
                str(self.checkpoint),
                task=task,
                out=folder / "bundle",
                profile="cpu-x86-avx2",
                precision=precision,
                bench=False,
            )

    def planted(self, out: Path, weight: str, change: Callable[[np.ndarray], np.ndarray], graph: str = "") -> Path:
        """The bundle with `change` applied to the initializer whose name begins with `weight`."""
        shutil.copytree(self.bundle, out)
        manifest = bundle.read(out)
        path = out / (graph or manifest.model)
        model = onnx.load(path)
        (found,) = [each for each in model.graph.initializer if each.name.startswith(weight)]
        found.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(found)), found.name))
        path.with_name(path.name + ".data").unlink()
        onnx.save(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=1024)
        bundle.seal(out, manifest)
        return out


@pytest.fixture(scope="module", autouse=True)
def _cache(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))
        yield


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("bert")
    return Built(folder, "BertModel", "feature-extraction", num_hidden_layers=LAYERS)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("llama"), "LlamaForCausalLM", "text-generation", **LLAMA)


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(tmp_path_factory.mktemp("t5"), "T5ForConditionalGeneration", "text2text-generation", **T5)


def slightly(weight: np.ndarray) -> np.ndarray:
    return weight * np.float32(1.001)


def test_without_a_fault_every_layer_is_within_its_limit(bert: Built, llama: Built, t5: Built) -> None:
    for built, blocks in ((bert, LAYERS), (llama, LAYERS), (t5, 6)):
        found = pipeline.bisect(built.bundle)
        assert (found.first, found.culprit, found.within) == (None, None, ())
        assert sum(layer.module.rpartition(".")[2].isdigit() for layer in found.layers) == blocks
        for layer in found.layers:
            assert layer.passed
            assert 0 < layer.noise < 1e-4 * layer.scale
            assert layer.samples > 0


def test_few_tensors_are_in_memory_at_a_time(bert: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    run = watching._run

    def counted(*call: Any, **named: Any) -> list[np.ndarray]:
        asked.append(len(call[3]))
        return run(*call, **named)

    monkeypatch.setattr(watching, "_run", counted)
    found = pipeline.bisect(bert.bundle)
    assert sum(asked) >= len(found.layers)
    assert max(asked) <= watching.AT_ONCE < sum(asked)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_fault_in_an_encoder_is_found_at_its_layer(bert: Built, layer: int, tmp_path: Path) -> None:
    weight = f"encoder.layer.{layer}.intermediate.dense.weight"
    found = pipeline.bisect(bert.planted(tmp_path / "bundle", weight, slightly))
    assert found.first == f"encoder.layer.{layer}"
    # The bias of that product is added by the activation's kernel, so the product alone has no tensor.
    assert found.culprit == f"encoder.layer.{layer}.intermediate.intermediate_act_fn"
    assert "pooler" in found.skipped


@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_fault_in_a_decoder_is_found_at_its_layer(llama: Built, layer: int, tmp_path: Path) -> None:
    weight = f"model.layers.{layer}.mlp.down_proj.weight"
    found = pipeline.bisect(llama.planted(tmp_path / "bundle", weight, slightly))
    assert found.first == f"model.layers.{layer}"
    assert found.culprit == weight.removesuffix(".weight")


@pytest.mark.parametrize(
    ("weight", "graph", "first"),
    [
        ("encoder.block.1.layer.1.DenseReluDense.wo.weight", "encoder_model.onnx", "encoder.block.1"),
        ("decoder.block.2.layer.2.DenseReluDense.wo.weight", "", "decoder.block.2"),
    ],
)
def test_a_fault_in_either_graph_of_an_encoder_decoder(
    t5: Built, weight: str, graph: str, first: str, tmp_path: Path
) -> None:
    found = pipeline.bisect(t5.planted(tmp_path / "bundle", weight, slightly, graph))
    assert (found.first, found.culprit) == (first, weight.removesuffix(".weight"))


def test_what_stands_before_the_blocks_is_looked_at(bert: Built, tmp_path: Path) -> None:
    weight = "embeddings.position_embeddings.weight"
    found = pipeline.bisect(bert.planted(tmp_path / "bundle", weight, slightly))
    assert (found.first, found.culprit) == ("embeddings", weight.removesuffix(".weight"))


def test_values_that_are_not_numbers_are_an_error_without_size(llama: Built, tmp_path: Path) -> None:
    weight = "model.layers.3.mlp.down_proj.weight"
    found = pipeline.bisect(llama.planted(tmp_path / "bundle", weight, lambda array: array * np.float32("nan")))
    assert found.first == "model.layers.3"
    assert [layer.error is None for layer in found.layers if layer.module.startswith("model.layers")] == [
        *[False] * 3,
        *[True] * 3,
    ]


def test_the_first_jump_of_a_quantized_engine_is_named(tmp_path: Path) -> None:
    built = Built(
        tmp_path,
        "BertModel",
        "feature-extraction",
        "int8-dynamic",
        num_hidden_layers=LAYERS,
        initializer_range=0.1,
    )
    assert pipeline.bisect(built.bundle).first is None
    bias = "encoder.layer.3.output.dense.bias"
    found = pipeline.bisect(built.planted(tmp_path / "planted", bias, lambda array: 3 * array[::-1]))
    assert found.first == "encoder.layer.3"
    assert {layer.precision for layer in found.layers if layer.module.startswith("encoder.")} == {"int8"}
    shares = {layer.module: layer.relative or 0 for layer in found.within}
    assert shares["encoder.layer.3.output.LayerNorm"] > 5 * shares["encoder.layer.3.attention.output.LayerNorm"]
    assert found.culprit is None


def layer(error: float, scale: float = 1.0) -> Layer:
    return Layer(module="layer", error=error, scale=scale, noise=1e-9, samples=1, limit=1e-8)


def test_growth_is_judged_by_what_most_layers_add() -> None:
    even = [layer(0.01 * (i + 1) ** 0.5) for i in range(6)]
    assert all(each.passed for each in _judged_by_growth(even))
    jump = [*even[:3], *(replace(each, error=((each.error or 0) ** 2 + 0.04) ** 0.5) for each in even[3:])]
    judged = _judged_by_growth(jump)
    assert [each.passed for each in judged] == [True, True, True, False, True, True]
    assert judged[3].limit == pytest.approx((0.0003 + (JUMP * 0.01) ** 2) ** 0.5)


def test_a_fault_in_a_layer_that_runs_several_times_is_found_in_its_first_run(tmp_path: Path) -> None:
    """ALBERT's three layers are one; its second run already begins with the first one's error."""
    settings = {"config": "AlbertConfig", "embedding_size": 16, "num_hidden_layers": 3}
    built = Built(tmp_path, "AlbertModel", "feature-extraction", **settings)
    layer = "encoder.albert_layer_groups.0"
    # What follows a product in one kernel shows the fault first.
    for module, culprit in (("ffn", "activation"), ("ffn_output", "full_layer_layer_norm")):
        weight = f"{layer}.albert_layers.0.{module}.weight"
        found = pipeline.bisect(built.planted(tmp_path / module, weight, slightly))
        assert found.first == layer
        assert found.culprit == f"{layer}.albert_layers.0.{culprit}"

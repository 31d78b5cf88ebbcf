"""The stages in order, on tiny random checkpoints: what is cached, what a failing budget leaves, stages alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import compiler
from compiler import machine, pipeline, profile, records
from compiler.bundle import CERTIFICATE, verify
from compiler.errors import BudgetError, CheckpointError, ProfileError, StorageError, UsageError
from compiler.profile import find
from compiler.progress import Event, silent
from compiler.records import Certificate, Exported, Optimized
from compiler.request import ModelRequest
from compiler.stages import checkpoint as checkpoint_stage
from compiler.stages import export as export_stage
from compiler.stages import optimize as optimize_stage

PROFILE = "cpu-x86-avx2"


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))


class Seen(list[Event]):
    def __call__(self, event: Event) -> None:
        self.append(event)

    def cached(self) -> set[str]:
        return {event.stage for event in self if event.cached}

    def order(self) -> list[str]:
        return list(dict.fromkeys(event.stage for event in self))


def build(model: Path, out: Path, seen: Seen, **options: object) -> Path:
    return pipeline.build(str(model), profile=PROFILE, out=out, bench=False, progress=seen, **options)  # type: ignore[arg-type]


def test_the_stages_run_in_order_and_the_second_time_from_the_cache(tiny_encoder: Path, tmp_path: Path) -> None:
    first, second = Seen(), Seen()
    bundle = build(tiny_encoder, tmp_path / "one", first, precision="float32")
    assert first.order() == ["checkpoint", "export", "optimize", "build", "check", "seal"]
    copy = Path(shutil.copytree(tiny_encoder, tmp_path / "elsewhere" / tiny_encoder.name))
    (copy / "tf_model.h5").write_bytes(b"another framework's weights, which nothing reads")
    again = build(copy, tmp_path / "two", second, precision="float32")
    assert second.cached() == {"export", "optimize", "build", "check"}
    assert verify(bundle).files["model.onnx"] == verify(again).files["model.onnx"]
    certificate = records.load(bundle / CERTIFICATE, Certificate)
    assert (certificate.verdict, certificate.precision, certificate.profile) == ("pass", "float32", PROFILE)
    assert certificate.unread == ()
    assert records.load(again / CERTIFICATE, Certificate).unread == ("tf_model.h5",)
    with compiler.load(bundle) as model:
        assert model.embed(["hello", "the cat sat"]).shape == (2, 64)


@pytest.mark.parametrize("stage", ["export", "check"])
def test_a_checkpoint_that_changes_during_a_build_leaves_nothing(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "cache"))
    model, out = Path(shutil.copytree(tiny_encoder, tmp_path / "model")), tmp_path / "out"
    config = model / "config.json"
    before = config.read_text()

    class Writing(Seen):
        def __call__(self, event: Event) -> None:
            if event.stage == stage:
                config.write_text(json.dumps({**json.loads(before), "layer_norm_eps": 0.5}))

    with pytest.raises(CheckpointError, match="changed while it was read"):
        build(model, out, Writing(), precision="float32")
    assert not out.exists()
    config.write_text(before)
    bundle = build(model, out, Seen(), precision="float32")
    with compiler.load(bundle) as changed:
        batch = AutoTokenizer.from_pretrained(tiny_encoder)("the cat", return_tensors="pt")
        with torch.inference_mode():
            states = AutoModel.from_pretrained(tiny_encoder)(**batch).last_hidden_state[0]
        np.testing.assert_allclose(changed.embed("the cat"), states.mean(dim=0).numpy(), atol=1e-5)


def test_the_same_files_under_another_path_come_from_the_cache_and_are_called_by_their_new_name(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    first = build(tiny_encoder, tmp_path / "one", Seen(), precision="float32")
    moved = shutil.copytree(tiny_encoder, tmp_path / "renamed")
    seen = Seen()
    second = build(moved, tmp_path / "two", seen, precision="float32")
    assert seen.cached() == {"export", "optimize", "build", "check"}
    assert [verify(each).source.name for each in (first, second)] == [tiny_encoder.name, "renamed"]


def test_a_key_tells_of_a_result_without_making_it(tiny_encoder: Path, tmp_path: Path, cache: Path) -> None:
    build(tiny_encoder, tmp_path / "one", Seen(), precision="float32")
    checkpoint = checkpoint_stage.run(ModelRequest(model=str(tiny_encoder)), silent)
    assert (cache / "export" / export_stage.key(checkpoint)).is_dir()
    portable = export_stage.run(checkpoint, silent)
    keys = [
        optimize_stage.key(portable, profile.load(PROFILE).lowering("encoder", precision), strict=False)
        for precision in ("float32", "int8-weights")
    ]
    assert [(cache / "optimize" / key).is_dir() for key in keys] == [True, False]


def test_another_precision_keeps_the_trace(tiny_decoder: Path, tmp_path: Path) -> None:
    build(tiny_decoder, tmp_path / "one", Seen(), precision="float32")
    seen = Seen()
    build(tiny_decoder, tmp_path / "two", seen, precision="int8-weights")
    assert seen.cached() == {"export"}


def test_the_machines_that_a_profile_is_for_decide_the_bits_of_weights(tiny_encoder: Path, tmp_path: Path) -> None:
    """Two profiles of one name: what is in the cache for the one is not taken for the other."""
    exported = pipeline.export(str(tiny_encoder), out=tmp_path / "exported")
    text = profile.text(find(PROFILE))
    largest = []
    for features in ('"avx2", "fma"', '"avx2", "fma", "avx_vnni"'):
        path = tmp_path / "mine.toml"
        path.write_text(text.replace('"avx2", "fma"', features))
        lowered = pipeline.optimize(exported, profile=str(path), precision="int8-dynamic", out=tmp_path / "lowered")
        weights = [value.const_value for value in ir.load(lowered / "model.onnx").graph.initializers.values()]
        codes = [weight.numpy() for weight in weights if weight is not None and weight.dtype == ir.DataType.INT8]
        largest.append({int(np.abs(array).max()) for array in codes})
    assert largest == [{63}, {127}]


def test_a_check_is_taken_from_the_cache_for_the_same_kind_of_processor_only(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tiny_encoder, tmp_path / "one", Seen(), precision="float32")
    here = machine.detect()
    for features, cached in ((here.features, True), (("sve2",), False)):
        other = msgspec.structs.replace(here, cpu="another", features=features)
        monkeypatch.setattr(machine, "detect", lambda other=other: other)
        seen = Seen()
        build(tiny_encoder, tmp_path / "two", seen, precision="float32")
        assert ("check" in seen.cached()) == cached


def test_answers_outside_the_budget_are_written_and_raised(tiny_encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "strict"
    with pytest.raises(BudgetError, match="cosine") as caught:
        build(tiny_encoder, out, Seen(), precision="int8-dynamic", budget={"min_cosine": 1.0})
    assert caught.value.exit_code == 8
    assert str(out) in caught.value.subject
    certificate = json.loads((out / CERTIFICATE).read_text())
    assert certificate["verdict"] == "fail"
    assert "cosine.min" in certificate["reasons"]
    assert certificate["budget"] == {"min_cosine": 1.0, "min_padding_cosine": 0.9995, "min_company_cosine": 0.9995}
    verify(out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget": {"max_perplexty_ratio": 1.1}}, 'did you mean "max_perplexity_ratio"'),
        ({"budget": {"min_cosine": 3.0}}, "<= 1"),
        ({"budget": {"min_cosine": "high"}}, "Expected `float"),
        ({"budget": {"noise_factor": float("inf")}, "precision": "float32"}, "not a finite number"),
        ({"budget": {"max_perplexity_ratio": 1.1}}, '"max_perplexity_ratio" would judge nothing'),
        ({"budget": {"min_top1_agreement": 0.9}}, "a model that answers with vectors, in int8-dynamic"),
        ({"budget": {"noise_factor": 20.0}}, "only float32 is judged by noise"),
        ({"precision": "int8-dynamc"}, 'did you mean "int8-dynamic"'),
        ({"precision": "int4-weights"}, "is not in profile cpu-x86-avx2 for encoders"),
        ({"context": 15}, "16 tokens or more"),
        ({"context": -5}, "16 tokens or more"),
        ({"context": 65}, "16 to 64 tokens"),
        ({"adapter_base": "bert"}, "--adapter-base without an adapter"),
        ({"targets": ("sm89",)}, "takes no targets"),
    ],
)
def test_a_mistake_is_refused_before_the_export(
    tiny_encoder: Path, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    seen = Seen()
    with pytest.raises(UsageError) as caught:
        build(tiny_encoder, tmp_path / "out", seen, **options)
    assert said in str(caught.value)
    assert set(seen.order()) <= {"checkpoint"}
    assert not (tmp_path / "out").exists()


def test_places_where_nothing_can_be_written_are_refused_before_any_work(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    seen = Seen()
    with pytest.raises(StorageError, match="Not a directory"):
        build(tiny_encoder, tmp_path / "file" / "out", seen)
    with pytest.raises(UsageError, match="in the checkpoint's folder"):
        build(tiny_encoder, tiny_encoder / "out", seen)
    with pytest.raises(UsageError, match="in the checkpoint's folder"):
        pipeline.export(str(tiny_encoder), out=tiny_encoder / "out", progress=seen)
    with pytest.raises(UsageError, match="in the way"):
        pipeline.export(str(tiny_encoder), out=tmp_path, progress=seen)
    assert not seen
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_profile_without_a_limit_for_the_model_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    """The encoder's budget is about labels alone: in int8 nothing would be compared with PyTorch."""
    path = tmp_path / "mine.toml"
    path.write_text(profile.text(find(PROFILE)).replace("min_cosine = 0.97\n", ""))
    seen = Seen()
    with pytest.raises(ProfileError, match="does not limit how far answers in int8-dynamic") as caught:
        pipeline.build(str(tiny_encoder), profile=str(path), out=tmp_path / "out", progress=seen)
    assert caught.value.expected == "one of min_cosine"
    assert set(seen.order()) <= {"checkpoint"}


def test_every_stage_alone_on_what_the_one_before_wrote(tiny_decoder: Path, tmp_path: Path) -> None:
    exported = pipeline.export(str(tiny_decoder), out=tmp_path / "exported")
    assert records.load(exported / "exported.json", Exported).task == "text-generation"
    optimized = pipeline.optimize(exported, profile=PROFILE, precision="float32", out=tmp_path / "optimized")
    assert records.load(optimized / "optimized.json", Optimized).precision == "float32"
    bundle = build(tiny_decoder, tmp_path / "bundle", Seen(), precision="float32")
    assert pipeline.check(bundle).passed
    for name, why in (("min_cosine", "of the kind decoder"), ("min_greedy_agreement", "every greedy token")):
        for command in (pipeline.check, pipeline.bisect):
            with pytest.raises(UsageError, match="would judge nothing") as caught:
                command(bundle, budget={name: 0.5})
            assert why in str(caught.value)


def test_places_are_paths_or_text(tiny_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[object] = []
    monkeypatch.setattr("compiler.measure.measure", lambda bundle, *_, **__: measured.append(bundle))
    for kind in (str, Path):
        out, model = tmp_path / kind.__name__, kind(tiny_decoder)
        exported = pipeline.export(model, out=kind(out / "exported"))
        options = {"profile": PROFILE, "precision": "float32"}
        optimized = pipeline.optimize(kind(exported), out=kind(out / "optimized"), **options)  # type: ignore[arg-type]
        bundle = pipeline.build(model, out=kind(out / "bundle"), bench=False, **options)
        assert (exported, optimized, bundle) == (out / "exported", out / "optimized", out / "bundle")
        assert pipeline.check(kind(bundle), reference=model, seal=True).passed
        assert pipeline.bisect(kind(bundle), reference=model).first is None
        pipeline.bench(kind(bundle), reference=model)
        assert measured.pop() == bundle


def test_a_bundle_is_only_checked_against_its_own_checkpoint(
    tiny_encoder: Path, tiny_decoder: Path, tmp_path: Path
) -> None:
    bundle = build(tiny_encoder, tmp_path / "bundle", Seen(), precision="float32")
    with pytest.raises(CheckpointError, match="not the checkpoint"):
        pipeline.check(bundle, reference=str(tiny_decoder))


def test_a_folder_of_somebody_else_is_never_replaced(tiny_encoder: Path, tmp_path: Path) -> None:
    """Nor is one whose manifest.json is another program's, and it is found out before any work."""
    for name in ("thesis.txt", "manifest.json"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("precious")
        seen = Seen()
        with pytest.raises(UsageError, match="in the way"):
            build(tiny_encoder, folder, seen, precision="float32")
        assert seen == []
        assert (folder / name).read_text() == "precious"


def test_notes_in_an_old_bundle_are_not_lost(tiny_encoder: Path, tmp_path: Path) -> None:
    bundle = build(tiny_encoder, tmp_path / "bundle", Seen(), precision="float32")
    (bundle / "NOTES.txt").write_text("precious")
    with pytest.raises(UsageError, match=r"NOTES\.txt"):
        build(tiny_encoder, bundle, Seen(), precision="float32")
    (bundle / "NOTES.txt").unlink()
    (bundle / "model.onnx").write_bytes(b"damaged")
    build(tiny_encoder, bundle, Seen(), precision="float32")
    verify(bundle)

"""Limits that cannot be vacuous: a noisy reference, one that depends on padding, one without float64 answers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from compiler.check import check
from compiler.check.limits import CEILING, Limits
from compiler.check.noise import Noise, noise, spread
from compiler.records import Budget, Checked, Finding, Padding
from tests.check.toy import TEXT, Feeds, Toy, ToySession, checked, manifest
from tests.models import write_tokenizer


def finding(result: Checked, name: str) -> Finding:
    return next(found for found in result.findings if found.name == name)


def test_a_limit_is_a_share_of_the_spread_at_most() -> None:
    limits = Limits("float32", Budget(), Noise(error=8.0, spread=2.0))
    assert limits.error == pytest.approx(CEILING * 2.0)
    assert "spread" in limits.basis
    assert Limits("float32", Budget(), Noise(error=1e-6, spread=2.0)).error == pytest.approx(1e-5)


def test_answers_that_hardly_vary_may_still_be_rounded() -> None:
    assert Limits("float32", Budget(), Noise(error=1e-6, spread=0.0, rounding=1e-6)).error == pytest.approx(1e-5)


def test_the_spread_of_logits_is_that_within_a_row() -> None:
    """Rows that differ by a number that is added to all of them say the same."""
    row = np.array([1.0, 2.0, 3.0, 6.0])
    assert spread([np.stack([row, row + 1000])]) == pytest.approx(np.std(row))
    assert spread([np.array([[1.0, 3.0]]), np.array([[5.0, 7.0]])]) == pytest.approx(np.std([1, 3, 5, 7]))


def test_noise_is_one_rounding_at_least() -> None:
    answers = [np.array([[512.0, 1.0, 2.0]], np.float32)]
    assert noise(answers, answers, "float64").error == pytest.approx(512 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_fault_of_2_percent_is_no_noise_however_noisy_the_reference_is(kind: str, tmp_path: Path) -> None:
    about = manifest(kind)  # type: ignore[arg-type]
    faulty = ToySession(Toy(noise=0.5), lambda output: output * np.float32(1.02))
    assert "output.max_abs_error" in checked(faulty, about, tmp_path, noise=0.5).reasons


class DependsOnPadding(Toy):
    """Counts the columns of its batch, padding included, as models with convolutions or a Nystrom kernel do."""

    def run(self, feeds: Feeds) -> Feeds:
        width = self.dtype.type(0.01 * feeds["input_ids"].shape[-1])
        return {name: array + width * np.sign(array) for name, array in super().run(feeds).items()}


def asked(session: ToySession, folder: Path, reference: type[Toy], padding: Padding = "hidden") -> Checked:
    write_tokenizer(folder, bos=True)
    about = msgspec.structs.replace(manifest("encoder"), padding=padding)
    tokenizer = folder / "tokenizer.json"
    return check(session, about, reference, [TEXT], budget=Budget(min_cosine=0.99), tokenizer=tokenizer)


def test_a_model_that_depends_on_padding_is_judged_as_pytorch_answers_alone(tmp_path: Path) -> None:
    """Texts of a batch are then of one length; an error of a hundredth of what padding changes is no tolerance."""
    result = asked(ToySession(DependsOnPadding()), tmp_path, DependsOnPadding, "changes answers")
    assert result.passed
    assert result.noise < 1e-5
    assert finding(result, "padding.max_abs_error").value < 1e-5
    assert finding(result, "padding.cosine.min").value == pytest.approx(1, abs=1e-6)
    faulty = ToySession(DependsOnPadding(), lambda output: output + np.float32(1e-3))
    assert "output.max_abs_error" in asked(faulty, tmp_path, DependsOnPadding, "changes answers").reasons


def test_a_model_that_depends_on_padding_may_not_be_padded(tmp_path: Path) -> None:
    """The engine is as PyTorch is, padded in the same way; but a text would get another vector in other company."""
    result = asked(ToySession(DependsOnPadding()), tmp_path, DependsOnPadding)
    assert result.reasons == ("padding.cosine.min",)
    assert finding(result, "padding.cosine.min").value < 0.9995


@pytest.mark.parametrize("padding", ["hidden", "changes answers"])
def test_an_engine_that_depends_on_its_batch_otherwise_than_its_model_fails(tmp_path: Path, padding: Padding) -> None:
    reasons = asked(ToySession(Toy()), tmp_path, DependsOnPadding, padding).reasons
    assert "output.max_abs_error" in reasons
    assert ("padding.max_abs_error" in reasons) == (padding == "hidden")


class Raises(Toy):
    """A model whose code has no float64."""

    def run(self, feeds: Feeds) -> Feeds:
        if self.dtype == np.float64:
            raise RuntimeError("expected scalar type Float but found Double")
        return super().run(feeds)


class Overflows(Toy):
    def run(self, feeds: Feeds) -> Feeds:
        outputs = super().run(feeds)
        return {name: array * (np.nan if self.dtype == np.float64 else 1) for name, array in outputs.items()}


class RaisesWhenOpened(Toy):
    def __init__(self, dtype: str = "float32") -> None:
        if dtype == "float64":
            raise ValueError("no kernel for float64")
        super().__init__(dtype)


class AnswersInFloat32(Toy):
    """Its float64 is float32 in disguise, so there is no difference to take for noise."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__("float32")


@pytest.mark.parametrize("reference", [Raises, Overflows, RaisesWhenOpened, AnswersInFloat32])
def test_without_float64_noise_comes_from_other_orders_and_is_said_to(reference: type[Toy], tmp_path: Path) -> None:
    def opened(arithmetic: str) -> Toy:
        if arithmetic != "reordered":
            return reference(arithmetic)
        return Toy("float32", noise=3e-6)

    write_tokenizer(tmp_path, bos=True)
    tokenizer = tmp_path / "tokenizer.json"

    def result(session: ToySession) -> Checked:
        return check(session, manifest("encoder"), opened, [TEXT], budget=Budget(), tokenizer=tokenizer)  # type: ignore[arg-type]

    same = result(ToySession(Toy()))
    assert same.passed
    assert same.noise_source == "reorderings"
    assert same.noise == pytest.approx(3e-6, rel=0.2)
    assert "different orders" in finding(same, "output.max_abs_error").basis
    off = result(ToySession(Toy(), lambda output: output + np.float32(1e-3)))
    assert {"output.max_abs_error", "longest.max_abs_error"} <= set(off.reasons)

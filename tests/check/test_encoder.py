from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tokenizers import Tokenizer

from compiler.check import check
from compiler.checkpoint.marks import Marks
from compiler.records import Budget, Checked, Finding, Manifest, Padding
from compiler.tasks import TASKS
from tests.check.toy import TEXT, Feeds, Toy, ToySession, checked, manifest
from tests.models import write_tokenizer


def finding(result: Checked, name: str) -> Finding:
    return next(found for found in result.findings if found.name == name)


def test_the_same_model_passes_within_the_noise(tmp_path: Path) -> None:
    result = checked(ToySession(Toy(noise=1e-6)), manifest("encoder"), tmp_path, noise=2e-6)
    assert result.passed
    assert 1e-7 < result.noise < 1e-5
    assert 0 < finding(result, "output.max_abs_error").value < result.noise
    assert finding(result, "cosine.min").value == pytest.approx(1.0)


def plant(value: float) -> ToySession:
    def change(output: np.ndarray) -> np.ndarray:
        output = output.copy()
        output.flat[output.size // 2] = value
        return output

    return ToySession(Toy(), change)


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        (plant(np.nan), "output.nan"),
        (plant(np.inf), "output.inf"),
        (ToySession(Toy(), lambda output: output[..., :-1]), "output.shape"),
        (ToySession(Toy(), lambda output: output.astype(np.float16)), "output.dtype"),
    ],
)
def test_broken_outputs_fail_with_their_reason_alone(session: ToySession, reason: str, tmp_path: Path) -> None:
    assert checked(session, manifest("encoder"), tmp_path).reasons == (reason,)


def test_a_planted_error_fails_float32(tmp_path: Path) -> None:
    result = checked(plant(0.125), manifest("encoder"), tmp_path)
    assert "output.max_abs_error" in result.reasons
    error = finding(result, "output.max_abs_error")
    assert error.limit is not None
    assert error.value > 100 * error.limit


def test_the_limit_grows_with_the_noise_of_the_reference(tmp_path: Path) -> None:
    faulty = ToySession(Toy(), lambda output: output + np.float32(1e-3))
    assert not checked(faulty, manifest("encoder"), tmp_path, noise=0.0).passed
    assert checked(faulty, manifest("encoder"), tmp_path, noise=1e-3).passed


class IgnoresPadding(ToySession):
    """An engine that lost the attention mask: right for texts alone, wrong for padded ones."""

    def run(self, feeds: Feeds) -> Feeds:
        return super().run({**feeds, "attention_mask": np.ones_like(feeds["attention_mask"])})


def test_a_lost_mask_shows_as_padding(tmp_path: Path) -> None:
    assert "padding.max_abs_error" in checked(IgnoresPadding(Toy()), manifest("encoder"), tmp_path).reasons
    quantized = checked(
        IgnoresPadding(Toy()), manifest("encoder", "int8-dynamic"), tmp_path, budget=Budget(min_cosine=0.99)
    )
    assert "padding.cosine.min" in quantized.reasons


class WithoutMask(ToySession):
    """An engine whose graph has no mask, since its model takes none into account (FNet)."""

    def run(self, feeds: Feeds) -> Feeds:
        assert set(feeds) == {"input_ids"}
        return super().run({**feeds, "attention_mask": np.ones_like(feeds["input_ids"])})


class SeesPadding(Toy):
    def run(self, feeds: Feeds) -> Feeds:
        return super().run({**feeds, "attention_mask": np.ones_like(feeds["attention_mask"])})


@pytest.mark.parametrize(("padding", "reasons"), [("hidden", ("padding.cosine.min",)), ("changes answers", ())])
def test_a_graph_without_a_mask(tmp_path: Path, padding: Padding, reasons: tuple[str, ...]) -> None:
    write_tokenizer(tmp_path, bos=True)
    about = manifest("encoder")
    about = replace(about, inputs=about.inputs[:1], padding=padding)
    result = check(
        WithoutMask(Toy()), about, SeesPadding, [TEXT], budget=Budget(), tokenizer=tmp_path / "tokenizer.json"
    )
    assert result.reasons == reasons


def coarse(output: np.ndarray) -> np.ndarray:
    """What a quantizer with few levels does."""
    return np.round(output * 8) / np.float32(8)


def test_quantized_vectors_are_judged_by_the_budget_alone(tmp_path: Path) -> None:
    about = manifest("encoder", "int8-dynamic")
    loose = checked(ToySession(Toy(), coarse), about, tmp_path, budget=Budget(min_cosine=0.98))
    strict = checked(ToySession(Toy(), coarse), about, tmp_path, budget=Budget(min_cosine=0.99999))
    assert loose.passed
    assert strict.reasons == ("cosine.min",)
    assert finding(strict, "cosine.min").value < finding(strict, "cosine.mean").value <= 1.0


def test_labels_are_judged_by_agreement(tmp_path: Path) -> None:
    about = manifest("encoder", "int8-dynamic", "text-classification")
    budget = Budget(min_top1_agreement=0.9, max_kl_divergence=0.01)
    same = checked(ToySession(Toy(task="text-classification")), about, tmp_path, budget=budget)
    assert same.passed
    assert finding(same, "top1.agreement").samples == 64 + 1  # 33 of 33 leave 0.9 undecided
    swapped = ToySession(Toy(task="text-classification"), lambda output: np.roll(output, 1, axis=-1))
    result = checked(swapped, about, tmp_path, budget=budget)
    assert set(result.reasons) == {"top1.agreement", "kl.mean"}


class Recorder(ToySession):
    """Keeps the tokens it is asked about."""

    def __init__(self, task: str) -> None:
        super().__init__(Toy(task=task))
        self.asked: list[np.ndarray] = []

    def run(self, feeds: Feeds) -> Feeds:
        self.asked.append(feeds["input_ids"])
        return super().run(feeds)


def test_a_model_that_fills_in_words_is_shown_gaps(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, bos=True)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_special_tokens(["[MASK]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    mask = tokenizer.token_to_id("[MASK]")
    sessions = {task: Recorder(task) for task in ("fill-mask", "token-classification")}
    for task, session in sessions.items():
        check(
            session,
            manifest("encoder", task=task),
            functools.partial(Toy, task=task),
            [TEXT],
            budget=Budget(),
            tokenizer=tmp_path / "tokenizer.json",
            marks=Marks(mask=mask),
        )
    gaps = sessions["fill-mask"].asked[0] == mask
    assert 0.05 < gaps.sum() / (sessions["fill-mask"].asked[0] != 0).sum() < 0.2
    assert not gaps[:, 0].any()
    assert not any((ids == mask).any() for ids in sessions["token-classification"].asked)


ENCODERS = [task for task, row in TASKS.items() if row.kind == "encoder"]


@pytest.mark.parametrize("task", ENCODERS)
def test_every_task_passes_with_the_same_model_and_fails_with_another(task: str, tmp_path: Path) -> None:
    about = manifest("encoder", task=task)
    assert checked(ToySession(Toy(task=task, noise=1e-6)), about, tmp_path, noise=2e-6).passed
    failed = checked(ToySession(Toy(task=task), lambda output: output + np.float32(0.01)), about, tmp_path)
    assert "output.max_abs_error" in failed.reasons


@pytest.mark.parametrize("task", ENCODERS)
def test_the_budget_judges_every_task(task: str, tmp_path: Path) -> None:
    about = manifest("encoder", "int8-dynamic", task)
    budget = Budget(min_top1_agreement=0.9, max_kl_divergence=0.01, min_cosine=0.98)
    assert checked(ToySession(Toy(task=task), coarse), about, tmp_path, budget=budget).passed
    result = checked(ToySession(Toy(task=task), np.negative), about, tmp_path, budget=budget)
    wanted = {"cosine.min"} if task == "feature-extraction" else {"top1.agreement", "kl.mean"}
    assert set(result.reasons) == wanted


def test_an_answer_is_a_position_among_real_tokens(tmp_path: Path) -> None:
    """What stands in the padding counts for nothing, and both ends of an answer are judged."""
    task = "question-answering"
    about = manifest("encoder", "int8-dynamic", task)

    class Padded(ToySession):
        def run(self, feeds: Feeds) -> Feeds:
            loud = np.where(feeds["attention_mask"] == 1, 0, 99).astype(np.float32)
            return {name: array + loud for name, array in super().run(feeds).items()}

    result = checked(Padded(Toy(task=task)), about, tmp_path, budget=Budget(min_top1_agreement=1.0))
    assert result.passed
    assert finding(result, "top1.agreement").samples == 2 * (32 + 1)
    assert finding(result, "kl.mean").value == pytest.approx(0, abs=1e-9)

    class Ends(ToySession):
        def run(self, feeds: Feeds) -> Feeds:
            outputs = super().run(feeds)
            return {**outputs, "end_logits": -outputs["end_logits"]}

    result = checked(Ends(Toy(task=task)), about, tmp_path, budget=Budget(min_top1_agreement=0.9))
    assert 0.4 < finding(result, "top1.agreement").value < 0.6


def test_tokens_are_judged_by_their_sign(tmp_path: Path) -> None:
    task = "replaced-token-detection"
    about = manifest("encoder", "int8-dynamic", task)
    budget = Budget(min_top1_agreement=1.0)
    doubled = checked(ToySession(Toy(task=task), lambda output: 2 * output), about, tmp_path, budget=budget)
    assert doubled.passed
    assert finding(doubled, "kl.mean").value > 0.01
    assert not checked(ToySession(Toy(task=task), lambda output: output + 1), about, tmp_path, budget=budget).passed


def classifier(folder: Path, **config: object) -> Manifest:
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 0, **config}))
    return manifest("encoder", "int8-dynamic", "text-classification")


def test_several_labels_are_judged_one_by_one(tmp_path: Path) -> None:
    about = classifier(tmp_path, problem_type="multi_label_classification")
    budget = Budget(min_top1_agreement=0.95)

    def one_label(output: np.ndarray) -> np.ndarray:
        return output * np.array([1, 1, -1], np.float32)

    result = checked(ToySession(Toy(task=about.task), one_label), about, tmp_path, budget=budget)
    agreement = finding(result, "top1.agreement")
    assert agreement.value == pytest.approx(2 / 3)
    assert agreement.samples == 3 * (32 + 1)


def test_a_score_is_judged_by_the_spread_of_the_references(tmp_path: Path) -> None:
    about = classifier(tmp_path, problem_type="regression")
    budget = Budget(min_cosine=0.98, min_top1_agreement=1.0)
    reference = Toy(task=about.task)
    error = finding(checked(ToySession(reference, coarse), about, tmp_path, budget=budget), "spread.error")
    assert 0 < error.value < 0.1
    assert error.limit == pytest.approx(0.2)
    for wrong in (lambda output: 2 * output, lambda output: output + 99, lambda output: 0 * output):
        result = checked(ToySession(reference, wrong), about, tmp_path, budget=budget)
        assert "spread.error" in result.reasons
        assert "top1.agreement" not in result.reasons


def share(about: Manifest, wrong: float, folder: Path, limit: float = 0.95) -> tuple[Checked, Finding]:
    """An engine whose label differs for so large a share of texts, by a token of theirs."""

    def change(output: np.ndarray) -> np.ndarray:
        chosen = (np.abs(output[:, :1]) * 1000 % 1) < wrong
        return np.where(chosen, np.roll(output, 1, axis=-1), output)

    budget = Budget(min_top1_agreement=limit, min_padding_cosine=None, min_company_cosine=None)
    result = checked(ToySession(Toy(task=about.task), change), about, folder, budget=budget)
    return result, finding(result, "top1.agreement")


def test_a_share_that_few_texts_leave_open_is_asked_of_more(tmp_path: Path) -> None:
    about = manifest("encoder", "int8-dynamic", "text-classification")
    _, clear = share(about, 0.0, tmp_path)
    assert (clear.passed, clear.samples) == (True, 128 + 1)  # 65 of 65 leave 0.95 open
    assert clear.low is not None
    assert clear.low > 0.95
    _, wrong = share(about, 0.5, tmp_path)
    assert (wrong.passed, wrong.undecided, wrong.samples) == (False, False, 32 + 1)


def test_what_stays_undecided_is_no_pass(tmp_path: Path) -> None:
    about = manifest("encoder", "int8-dynamic", "text-classification")
    result, agreement = share(about, 0.05, tmp_path)
    assert agreement.value == pytest.approx(0.95, abs=0.02)
    assert agreement.undecided
    assert agreement.samples > 500
    assert result.reasons == ("top1.agreement: undecided",)


class RangeOfTheBatch(ToySession):
    """An engine that scales its activations by the largest of the whole batch, as dynamic int8 for a tensor does."""

    def run(self, feeds: Feeds) -> Feeds:
        outputs = super().run(feeds)
        loud = np.float32(1 + 400 * (feeds["input_ids"] == 4).any())  # one token is an outlier
        return {name: np.round(array * 100 / loud) * loud / 100 for name, array in outputs.items()}


@pytest.mark.parametrize("task", ["feature-extraction", "text-classification"])
def test_a_text_whose_answer_depends_on_those_beside_it_fails(task: str, tmp_path: Path) -> None:
    about = manifest("encoder", "int8-dynamic", task)
    reasons = checked(RangeOfTheBatch(Toy(task=task)), about, tmp_path).reasons
    name = "company.cosine.min" if task == "feature-extraction" else "company.spread.error"
    assert name in reasons
    assert name not in checked(ToySession(Toy(task=task), lambda x: np.round(x * 100) / 100), about, tmp_path).reasons

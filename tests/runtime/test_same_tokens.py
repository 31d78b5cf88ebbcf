"""Answers beside transformers' `generate`, with the same settings on the same tiny random checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import numpy as np
import pytest

from compiler import pipeline
from compiler.errors import InputError, IntegrityError
from compiler.runtime import Model, UnverifiedWarning, load
from tests import models

PROMPTS = ["ban del fir", "gos", "kan lel mir nos pan rel"]
NEW_TOKENS = 48
SIZE: dict[str, dict[str, Any]] = {
    "Llama": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 96,
    },
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 96},
}


class Both(NamedTuple):
    """A checkpoint compiled, and the same in PyTorch."""

    ours: Model
    theirs: Any
    tokenizer: Any

    def expected(self, prompts: list[str] = PROMPTS, **settings: Any) -> tuple[list[tuple[int, ...]], Any]:
        """The tokens of each answer up to its end, and transformers' own output."""
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
        defaults = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "output_scores": True, "output_logits": True}
        output = self.theirs.generate(**batch, **defaults | settings, return_dict_in_generate=True)
        declared = settings.get("eos_token_id", self.theirs.generation_config.eos_token_id)
        ends = [declared] if isinstance(declared, int) else declared
        answers = output.sequences[:, batch["input_ids"].shape[1] :].tolist()
        sizes = [next((i + 1 for i, token in enumerate(row) if token in ends), len(row)) for row in answers]
        return [tuple(row[:size]) for row, size in zip(answers, sizes, strict=True)], output


@pytest.fixture(scope="module", params=SIZE)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """One whose cache is shared, and one whose cache is concatenated."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp(request.param) / "checkpoint"
    config = getattr(transformers, f"{request.param}Config")(
        **SIZE[request.param],
        vocab_size=models.VOCABULARY,
        initializer_range=0.3,  # far from uniform answers
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(1)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    models.write_tokenizer(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )
    tokenizer.save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(folder.with_name("cache")))
        out = folder.with_name("bundle")
        pipeline.build(
            str(folder), task="text-generation", out=out, profile="cpu-x86-avx2", precision="float32", bench=False
        )
    with load(out) as model:
        yield Both(model, transformers.AutoModelForCausalLM.from_pretrained(folder), tokenizer)


GREEDY = [
    {},
    {"repetition_penalty": 1.3},
    {"no_repeat_ngram_size": 2},
    {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3, "min_new_tokens": 20},
]
BEAMS = [
    {"beams": 2},
    {"beams": 4, "early_stopping": True},
    {"beams": 4, "early_stopping": "never", "length_penalty": 2.0},
    {"beams": 3, "length_penalty": -1.0},
    {"beams": 4, "length_penalty": 0.0, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3, "min_new_tokens": 20},
]


@pytest.mark.parametrize("settings", GREEDY, ids=str)
def test_greedy(both: Both, settings: dict[str, Any]) -> None:
    expected, output = both.expected(**settings)
    found = both.ours.generate(PROMPTS, max_new_tokens=NEW_TOKENS, details=True, **settings)
    assert [each.tokens for each in found] == expected
    assert max(map(len, expected)) == NEW_TOKENS
    logprobs = [logits.log_softmax(-1) for logits in output.logits]
    for row, each in enumerate(found):
        theirs = [float(logprobs[step][row, token]) for step, token in enumerate(each.tokens)]
        np.testing.assert_allclose(each.logprobs, theirs, atol=1e-4)
        assert each.score == pytest.approx(sum(theirs), abs=1e-3)
        assert each.finish == ("end" if each.tokens[-1] == 2 else "length")
        assert each.text.split() == [
            word for token in each.tokens if (word := both.tokenizer.decode([token])) not in models.SPECIAL
        ]


def test_logits(both: Both) -> None:
    _, output = both.expected(max_new_tokens=6)
    for row, each in enumerate(both.ours.generate(PROMPTS, max_new_tokens=6, details="logits")):
        assert each.logits is not None
        assert each.logits.shape == (len(each.tokens), models.VOCABULARY)
        theirs = np.stack([logits[row].numpy() for logits in output.logits[: len(each.tokens)]])
        np.testing.assert_allclose(each.logits, theirs, atol=1e-4)


@pytest.mark.parametrize("settings", BEAMS, ids=str)
def test_beams(both: Both, settings: dict[str, Any]) -> None:
    renamed = {"num_beams" if name == "beams" else name: value for name, value in settings.items()}
    expected, output = both.expected(**renamed)
    found = both.ours.generate(PROMPTS, max_new_tokens=NEW_TOKENS, details=True, **settings)
    assert [each.tokens for each in found] == expected
    np.testing.assert_allclose([each.score for each in found], output.sequences_scores, rtol=1e-5)
    alone = [both.ours.generate(prompt, max_new_tokens=NEW_TOKENS, **settings) for prompt in PROMPTS]
    assert alone == [each.text for each in found]


def test_log_probabilities_of_a_search_are_the_models(both: Both) -> None:
    found = both.ours.generate("gos", max_new_tokens=12, beams=3, length_penalty=0.0, details=True)
    assert found.score == pytest.approx(float(found.logprobs.sum()), abs=1e-4)
    assert found.score >= both.ours.generate("gos", max_new_tokens=12, details=True).score


DECLARED: list[dict[str, Any]] = [
    {"eos_token_id": [2, 9, 21]},
    {"suppress_tokens": [*range(8, 20)], "begin_suppress_tokens": [21, 22, 23, 24, 25, 26, 27]},
    {"bad_words_ids": [[2], [30], [40, 41], *([i, j] for i in range(6, 30) for j in range(30, 50))]},
    {"forced_bos_token_id": 7, "begin_suppress_tokens": [*range(8, 40)]},
    {"forced_eos_token_id": 5, "min_length": 30},
    {"renormalize_logits": True, "suppress_tokens": [*range(8, 20)]},
    {"repetition_penalty": 1.4, "no_repeat_ngram_size": 3},
    {"encoder_repetition_penalty": 3.0},
    {"encoder_no_repeat_ngram_size": 1, "remove_invalid_values": True},
    {"sequence_bias": [[[i], 1.5] for i in range(6, 30)] + [[[i, 40], -9.0] for i in range(6, 54)]},
    {"exponential_decay_length_penalty": [3, 1.4]},
    {"guidance_scale": 1.5},
    {"guidance_scale": -0.5, "repetition_penalty": 1.4, "renormalize_logits": True},
    {"min_new_tokens": 30, "min_length": 60, "eos_token_id": [2, *range(20, 40)]},
]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("declared", DECLARED, ids="-".join)
def test_what_the_checkpoint_declares_holds(both: Both, tmp_path: Path, declared: dict[str, Any], beams: int) -> None:
    """One prompt at a time: transformers counts the padding of a shorter one as text."""
    folder = copytree(both.ours.folder, tmp_path / "bundle")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, "num_beams": 7} | declared))
    changed = False
    with pytest.warns(UnverifiedWarning):
        changing = load(folder, verify=False)
    with changing as model:
        for prompt in PROMPTS:
            expected, output = both.expected([prompt], **declared, num_beams=beams)
            found = model.generate(prompt, max_new_tokens=NEW_TOKENS, beams=beams, details=True)
            assert found.tokens == expected[0]
            changed = changed or found.text != both.ours.generate(prompt, max_new_tokens=NEW_TOKENS, beams=beams)
            if beams > 1:
                assert found.score == pytest.approx(float(output.sequences_scores[0]), rel=1e-5)
    assert changed


@pytest.mark.parametrize(
    "declared",
    [
        {"max_new_tokens": 7},
        {"max_length": 12},
        {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True, "max_new_tokens": 9},
    ],
    ids=str,
)
def test_what_nobody_asks_for_comes_from_the_checkpoint(both: Both, tmp_path: Path, declared: dict[str, Any]) -> None:
    folder = copytree(both.ours.folder, tmp_path / "bundle")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2} | declared))
    with pytest.warns(UnverifiedWarning):
        changing = load(folder, verify=False)
    with changing as model:
        for prompt in PROMPTS:
            batch = both.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
            output = both.theirs.generate(**batch, do_sample=False, **declared)
            found = model.generate(prompt, details=True)
            assert list(found.tokens) == output[0, batch["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("negative", [None, "kan lel mir nos pan"], ids=["last token", "negative prompt"])
def test_guidance(both: Both, negative: str | None, beams: int) -> None:
    """Several prompts together: each is guided as it is alone."""
    plain = [each.tokens for each in both.ours.generate(PROMPTS, max_new_tokens=24, beams=beams, details=True)]
    for scale in (3.0, 0.0):
        given: dict[str, Any] = {"guidance_scale": scale}
        if negative is not None:
            ids = both.tokenizer(negative, return_tensors="pt")["input_ids"]
            given["negative_prompt_ids"] = ids.expand(len(PROMPTS), -1).repeat_interleave(beams, dim=0)
        expected, output = both.expected(max_new_tokens=24, num_beams=beams, **given)
        found = both.ours.generate(
            PROMPTS, max_new_tokens=24, beams=beams, guidance_scale=scale, negative_prompt=negative, details="logits"
        )
        assert [each.tokens for each in found] == expected != plain
        if beams == 1:
            assert [
                both.ours.generate(prompt, max_new_tokens=24, guidance_scale=scale, negative_prompt=negative)
                for prompt in PROMPTS
            ] == [each.text for each in found]
            for row, each in enumerate(found):
                assert each.logits is not None  # the model's own, as the log-probabilities are
                theirs = np.stack([logits[row].numpy() for logits in output.logits[: len(each.tokens)]])
                np.testing.assert_allclose(each.logits, theirs, atol=1e-4)


def test_guidance_leaves_room_for_the_longer_of_both_contexts(both: Both) -> None:
    found = both.ours.generate(
        "gos", max_new_tokens=96, guidance_scale=1.5, negative_prompt="kan " * 90, min_new_tokens=96, details=True
    )
    assert len(found.tokens) == 96 - 90


def test_what_guides_nothing_is_refused(both: Both) -> None:
    for given in (
        {"negative_prompt": "kan"},
        {"negative_prompt": "kan", "guidance_scale": 1},
        {"negative_prompt": ["kan"], "guidance_scale": 2.0},
        {"negative_prompt": 5, "guidance_scale": 2.0},
        {"guidance_scale": float("nan")},
        {"guidance_scale": "2"},
    ):
        with pytest.raises(InputError):
            both.ours.generate("gos", **given)


def test_a_setting_that_is_not_supported_opens_no_generation(both: Both, tmp_path: Path) -> None:
    folder = copytree(both.ours.folder, tmp_path / "bundle")
    for declared in ({"penalty_alpha": 0.6}, {"forced_bos_token_id": models.VOCABULARY}, {"num_beams": "four"}):
        (folder / "generation_config.json").write_text(json.dumps(declared))
        with pytest.warns(UnverifiedWarning):
            changed = load(folder, verify=False)
        with changed as model, pytest.raises(IntegrityError, match=next(iter(declared))):
            model.generate("gos")


def test_beams_end_at_stop_texts(both: Both) -> None:
    free = both.ours.generate(PROMPTS[2], max_new_tokens=NEW_TOKENS, beams=3)
    stop = free.split()[4]
    batch = both.tokenizer(PROMPTS[2], return_tensors="pt", return_token_type_ids=False)
    size = batch["input_ids"].shape[1]
    output = both.theirs.generate(
        **batch,
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        num_beams=3,
        eos_token_id=[2, both.tokenizer.convert_tokens_to_ids(stop)],
    )
    expected = both.tokenizer.decode(output[0, size:], skip_special_tokens=True).split()
    found = both.ours.generate(PROMPTS[2], max_new_tokens=NEW_TOKENS, beams=3, stop=stop, details=True)
    assert found.finish in ("stop", "end")
    assert found.text.split() == (expected[:-1] if found.finish == "stop" else expected)
    assert stop not in found.text

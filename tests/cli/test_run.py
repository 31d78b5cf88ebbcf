from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler import bundle as bundles
from compiler import records
from tests import models


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.decoder_bundle(tmp_path_factory.mktemp("run") / "decoder")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.encoder_bundle(tmp_path_factory.mktemp("run") / "encoder")


@pytest.fixture(scope="module")
def expected(decoder: Path) -> str:
    with compiler.load(decoder) as model:
        return model.generate("ban bel", max_new_tokens=8)


@pytest.mark.parametrize("words", [("--prompt", "ban bel"), ("ban bel",), ("ban", "bel")])
def test_a_prompt_is_streamed(invoke, decoder: Path, expected: str, words: tuple[str, ...]) -> None:
    answer = invoke("run", decoder, *words, "--max-new-tokens", 8)
    assert (answer.code, answer.stdout, answer.stderr) == (0, f"{expected}\n", "")


def test_a_prompt_from_standard_input(invoke, decoder: Path, expected: str) -> None:
    answer = invoke("run", decoder, "--max-new-tokens", 8, "--json", stdin="ban bel\n")
    assert answer.json == {"prompt": "ban bel", "text": expected}


def test_sampling_options_reach_the_model(invoke, decoder: Path) -> None:
    options = {"temperature": 2.0, "top_p": 0.9, "top_k": 20, "seed": 3, "max_new_tokens": 12, "stop": ["del"]}
    with compiler.load(decoder) as model:
        expected = model.generate("ban", **options)
    words = ["--temperature", 2, "--top-p", 0.9, "--top-k", 20, "--seed", 3, "--max-new-tokens", 12, "--stop", "del"]
    assert invoke("run", decoder, "ban", *words).stdout == f"{expected}\n"


def test_chat_uses_the_template(invoke, decoder: Path) -> None:
    message = {"role": "user", "content": "ban"}
    with compiler.load(decoder) as model:
        expected = model.generate([message], max_new_tokens=4)
    answer = invoke("run", decoder, "ban", "--chat", "--max-new-tokens", 4, "--json").json
    assert answer == {"prompt": [message], "text": expected}


def test_a_prompt_longer_than_the_context_is_refused(invoke, decoder: Path) -> None:
    answer = invoke("run", decoder, "ban " * 100, "--json")
    assert answer.code == 2
    assert answer.json["error"]["kind"] == "ContextError"


def test_texts_are_ranked_by_similarity_to_the_first(invoke, encoder: Path) -> None:
    answer = invoke("run", encoder, "ban bel", "rir", "ban bel bel")
    assert answer.code == 0
    assert "To: ban bel" in answer.stdout
    with compiler.load(encoder) as model:
        vectors = model.embed(["ban bel", "rir", "ban bel bel"], normalize=True)
    scores = vectors[1:] @ vectors[0]
    best = ["rir", "ban bel bel"][int(np.argmax(scores))]
    first = next(line for line in answer.stdout.splitlines() if f"{scores.max():.3f}" in line)
    assert first.split(maxsplit=1)[1].strip() == best


def test_vectors_as_json_from_lines_of_standard_input(invoke, encoder: Path) -> None:
    found = invoke("run", encoder, "--json", stdin="ban\nbel\n").json
    assert found["texts"] == ["ban", "bel"]
    np.testing.assert_allclose(np.linalg.norm(found["vectors"], axis=1), 1, atol=1e-5)


def test_no_text_at_all(invoke, encoder: Path) -> None:
    answer = invoke("run", encoder, "--json", stdin="")
    assert answer.code == 2
    assert answer.json["error"]["subject"] == "nothing to run"


def test_a_changed_bundle_is_refused_unless_told_otherwise(invoke, tmp_path: Path) -> None:
    folder = models.encoder_bundle(tmp_path / "bundle")
    (folder / "added.txt").write_text("x")
    assert invoke("run", folder, "ban").code == 11
    answer = invoke("run", folder, "ban", "bel", "--no-verify")
    assert answer.code == 0
    assert "not compared with its digests" in answer.stderr


def test_other_tasks_are_for_python(invoke, tmp_path: Path) -> None:
    folder = models.encoder_bundle(tmp_path / "bundle")
    text = (folder / bundles.MANIFEST).read_text().replace("feature-extraction", "fill-mask")
    (folder / bundles.MANIFEST).write_text(text)
    assert records.load(folder / bundles.MANIFEST, records.Manifest).task == "fill-mask"
    answer = invoke("run", folder, "ban")
    assert answer.code == 2
    assert "compiler.load" in answer.stderr

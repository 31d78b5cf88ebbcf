from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.records import Normalize, Pooling
from tests import models
from tests.understanding import TEXT, Case


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


@pytest.mark.parametrize("words", [("--prompt", "ban bel"), ("ban bel",)])
def test_a_prompt_is_streamed(invoke, decoder: Path, expected: str, words: tuple[str, ...]) -> None:
    answer = invoke("run", decoder, *words, "--max-new-tokens", 8)
    assert (answer.code, answer.stdout, answer.stderr) == (0, f"{expected}\n", "")


def test_a_prompt_from_standard_input(invoke, decoder: Path, expected: str) -> None:
    answer = invoke("run", decoder, "--max-new-tokens", 8, "--json", stdin="ban bel\n")
    assert answer.json == {"prompt": "ban bel", "text": expected}


@pytest.mark.parametrize("stdin", [None, "ban bel\ndir\n"])
def test_each_text_is_answered(invoke, decoder: Path, stdin: str | None) -> None:
    texts = ["ban bel", "dir"]
    with compiler.load(decoder) as model:
        expected = model.generate(texts, max_new_tokens=8)
    words = ["run", decoder, *([] if stdin else texts), "--max-new-tokens", 8]
    assert expected[0] != expected[1]
    assert invoke(*words, stdin=stdin).stdout == f"{expected[0]}\n\n{expected[1]}\n"
    pairs = [{"prompt": text, "text": answer} for text, answer in zip(texts, expected, strict=True)]
    assert invoke(*words, "--json", stdin=stdin).json == {"answers": pairs}


def test_each_text_is_a_chat_of_its_own(invoke, decoder: Path) -> None:
    chats = [[{"role": "user", "content": text}] for text in ("ban bel", "dir")]
    with compiler.load(decoder) as model:
        expected = model.generate(chats, max_new_tokens=8)
    found = invoke("run", decoder, "ban bel", "dir", "--chat", "--max-new-tokens", 8, "--json").json["answers"]
    assert [each["text"] for each in found] == expected


def test_a_prompt_of_several_lines(invoke, decoder: Path) -> None:
    with compiler.load(decoder) as model:
        expected = model.generate("ban\nbel", max_new_tokens=8)
    words = ["run", decoder, "--prompt", "-", "--max-new-tokens", 8, "--json"]
    assert invoke(*words, stdin="ban\nbel\n").json == {"prompt": "ban\nbel", "text": expected}


def test_a_prompt_and_texts_exclude_each_other(invoke, decoder: Path) -> None:
    answer = invoke("run", decoder, "dir", "--prompt", "ban")
    assert answer.code == 2
    assert "--prompt and TEXT exclude each other" in answer.stderr


def test_one_text_has_a_vector(invoke, encoder: Path) -> None:
    with compiler.load(encoder) as model:
        vector = model.embed(["ban"], normalize=True)[0]
    answer = invoke("run", encoder, "ban")
    assert answer.code == 0
    assert f"{vector.size}" in answer.stdout.split()
    assert ", ".join(f"{number:.4g}" for number in vector[:6]) in answer.stdout
    assert "two texts or more are compared" in answer.stdout
    assert np.allclose(invoke("run", encoder, "ban", "--json").json["vectors"], [vector])


def test_a_verdict_of_fail_is_said(invoke, encoder: Path, tmp_path: Path) -> None:
    bundle = models.failed(encoder, tmp_path / "failed")
    answer = invoke("run", bundle, "ban", "bel", "--json")
    assert answer.code == 0
    assert answer.stderr == f'warning: {bundle}: its certificate says "fail": perplexity-ratio\n'


def test_sampling_options_reach_the_model(invoke, decoder: Path) -> None:
    options = {"temperature": 2.0, "top_p": 0.9, "top_k": 20, "seed": 3, "max_new_tokens": 12, "stop": ["del"]}
    with compiler.load(decoder) as model:
        expected = model.generate("ban", **options)
    words = ["--temperature", 2, "--top-p", 0.9, "--top-k", 20, "--seed", 3, "--max-new-tokens", 12, "--stop", "del"]
    assert invoke("run", decoder, "ban", *words).stdout == f"{expected}\n"


def test_search_options_reach_the_model(invoke, decoder: Path) -> None:
    options = {"beams": 3, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "max_new_tokens": 12}
    with compiler.load(decoder) as model:
        expected = model.generate("ban", **options)
        assert expected != model.generate("ban", max_new_tokens=12)
    words = ["--beams", 3, "--repetition-penalty", 1.2, "--no-repeat-ngram", 2, "--max-new-tokens", 12]
    assert invoke("run", decoder, "ban", *words).stdout == f"{expected}\n"
    assert invoke("run", decoder, "ban", *words, "--temperature", 1).code == 2
    drawn = {"min_p": 0.2, "temperature": 1.5, "seed": 1, "max_new_tokens": 12}
    with compiler.load(decoder) as model:
        expected = model.generate("ban", **drawn)
    words = ["--min-p", 0.2, "--temperature", 1.5, "--seed", 1, "--max-new-tokens", 12]
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


def test_prompts_stand_in_front_of_texts(invoke, tmp_path: Path) -> None:
    pooling = Pooling(modules=(Normalize(),), prompts={"query": "ban ", "other": "mir "}, default_prompt="other")
    folder = models.encoder_bundle(tmp_path / "bundle", pooling=pooling)
    with compiler.load(folder) as model:
        raw = {front: model.embed(["del", "gos"], prompt=front).tolist() for front in ("", "ban ", "mir ", "nos ")}
        asked = model.embed("fir", prompt="ban ").tolist()

    def ran(*words: str, name: str = "vectors") -> Any:
        return np.array(invoke("run", folder, *words, "del", "gos", "--json").json[name])

    for words, front in (
        ((), "mir "),
        (("--prompt", "nos "), "nos "),
        (("--prompt", ""), ""),
        (("--prompt-name", "document"), ""),
        (("--prompt-name", "query"), "ban "),
        (("--query", "fir"), ""),
    ):
        np.testing.assert_allclose(ran(*words), raw[front], atol=1e-6)
        assert front == "mir " or not np.allclose(raw[front], raw["mir "], atol=1e-3)
    np.testing.assert_allclose(ran("--query", "fir", name="query_vector"), asked, atol=1e-6)
    shown = invoke("run", folder, "--query", "fir", "del", "gos").stdout.splitlines()
    score, word = max(zip((np.array(raw[""]) @ asked).tolist(), ["del", "gos"], strict=True))
    assert "For: fir" in shown[0]
    assert next(line for line in shown if f"{score:.3f}" in line).split(maxsplit=1)[1].strip() == word
    assert invoke("run", folder, "--query", "fir", "--prompt", "a", "del").code == 2
    assert invoke("run", folder, "--prompt-name", "nobody", "del").code == 2


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


@pytest.mark.parametrize(
    ("task", "words", "call"),
    [
        ("fill-mask", ["the [MASK] left .", "--top-k", 2], ("fillings", "fill_mask", ["the [MASK] left ."], 2)),
        ("text-classification", ["rain", TEXT], ("labels", "classify", ["rain", TEXT], None)),
        ("text-classification", ["rain", "--pair", TEXT, "--top-k", 1], ("labels", "classify", [("rain", TEXT)], 1)),
        ("text-classification", ["rain", TEXT, "--query", "storm"], ("ranked", "rerank", "storm", ["rain", TEXT])),
        ("token-classification", [TEXT], ("entities", "classify_tokens", [TEXT], "simple")),
        ("token-classification", [TEXT, "--aggregation", "none"], ("entities", "classify_tokens", [TEXT], "none")),
        ("next-sentence-prediction", ["rain", TEXT], ("is_next", "is_next", "rain", TEXT)),
        ("replaced-token-detection", ["rain", TEXT], ("tokens", "detect_replaced", ["rain", TEXT])),
    ],
)
def test_encoders_do_what_they_were_built_for(
    invoke, case: Callable[[str], Case], task: str, words: list[Any], call: tuple[Any, ...]
) -> None:
    folder = case(task).bundle
    key, method, *arguments = call
    with compiler.load(folder) as model:
        expected = getattr(model, method)(*arguments)
    assert invoke("run", folder, *words, "--json").json[key] == json.loads(json.dumps(expected))
    table = invoke("run", folder, *words)
    assert (table.code, table.stderr) == (0, "")
    assert f"{first_score(expected):.3f}" in table.stdout


def first_score(answer: Any) -> float:
    """The score of the first of any nested answers."""
    if isinstance(answer, list):
        return first_score(answer[0])
    return answer["score"] if isinstance(answer, dict) else answer


def test_a_question(invoke, case: Callable[[str], Case]) -> None:
    folder = case("question-answering").bundle
    with compiler.load(folder) as model:
        expected = model.answer("who sailed", TEXT, top_k=2)
    words = ["run", folder, TEXT, "--question", "who sailed", "--top-k", 2]
    assert invoke(*words, "--json").json == {"question": "who sailed", "answers": expected}
    assert expected[0]["answer"] in invoke(*words).stdout
    answer = invoke("run", folder, TEXT)
    assert answer.code == 2
    assert "--question" in answer.stderr


def test_choices(invoke, case: Callable[[str], Case]) -> None:
    folder = case("multiple-choice").bundle
    with compiler.load(folder) as model:
        expected = model.choose(TEXT, ["rain", "the night"])
    answer = invoke("run", folder, TEXT, "rain", "the night", "--json").json
    assert answer == {"prompt": TEXT, "choices": ["rain", "the night"], **expected}
    assert f"{max(expected['probabilities']):.3f}" in invoke("run", folder, TEXT, "rain", "the night").stdout
    assert invoke("run", folder, TEXT).code == 2


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("text-classification", ["--question", "who"]),
        ("text-classification", ["--temperature", 1]),
        ("text-classification", ["--prompt", "who"]),
        ("text-classification", ["--pair", "a", "--query", "b"]),
        ("next-sentence-prediction", ["--top-k", 2]),
        ("next-sentence-prediction", ["one", "two"]),
    ],
)
def test_options_of_other_tasks_are_refused(invoke, case: Callable[[str], Case], task: str, words: list[Any]) -> None:
    answer = invoke("run", case(task).bundle, TEXT, *words)
    assert (answer.code, answer.stdout) == (2, "")


def test_generation_takes_no_question(invoke, decoder: Path) -> None:
    answer = invoke("run", decoder, "ban", "--question", "who")
    assert answer.code == 2
    assert "--question: not for a bundle for text-generation" in answer.stderr


def test_encoders_read_lines(invoke, case: Callable[[str], Case]) -> None:
    answer = invoke("run", case("text-classification").bundle, "--json", stdin=f"rain\n{TEXT}\n")
    assert answer.json["texts"] == ["rain", TEXT]


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("--num-beams", "give --beams"),
        ("--max-length", "give --max-new-tokens: it counts the answer's tokens without the prompt's"),
        ("--max_new_tokens", "write --max-new-tokens"),
        ("--no-repeat-ngram-size", "write --no-repeat-ngram"),
        ("--length-penalty", "give length_penalty to generate() in Python"),
        ("--streamer", "give stream to generate() in Python"),
        ("--eos-token-id", "the checkpoint's own tokens end an answer"),
        ("--temprature", "Did you mean '--temperature'?"),
    ],
)
def test_options_of_other_programs_lead_to_ours(invoke, tmp_path: Path, option: str, advice: str) -> None:
    answer = invoke("run", tmp_path, option, 3)
    assert answer.code == 2
    assert option in answer.stderr
    assert advice in answer.stderr

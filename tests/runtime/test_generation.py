from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from compiler.errors import ContextError, InputError, UsageError
from compiler.runtime import Model, UnverifiedWarning, load
from tests import models

PROMPTS = ["ban del fir", "gos", "kan lel mir nos pan rel"]
TOKENS = {word: index for index, word in enumerate((*models.SPECIAL, *models.WORDS))}


def recomputed(model: Model, prompt: str, count: int) -> str:
    """Greedy without a cache: the whole text is fed again for every token."""
    tokens = [TOKENS[word] for word in prompt.split()]
    for _ in range(count):
        feeds = {"input_ids": np.array([tokens]), "attention_mask": np.ones((1, len(tokens)), np.int64)}
        for tensor in model.manifest.inputs:
            if tensor.name == "logits_positions":
                feeds[tensor.name] = np.array([[len(tokens) - 1]])
            elif tensor.name == "position_ids":
                feeds[tensor.name] = np.arange(len(tokens))[None]
            elif tensor.name.startswith("past_key_values"):
                feeds[tensor.name] = np.zeros((1, models.KV_HEADS, 0, models.HEAD_DIM), np.float32)
        tokens.append(int(model.run(feeds)["logits"][0, -1].argmax()))
    words = {index: word for word, index in TOKENS.items() if word not in models.SPECIAL}
    return " ".join(words[token] for token in tokens if token in words).removeprefix(prompt)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_cache_does_not_change_the_answer(decoder: Model, prompt: str) -> None:
    answer = decoder.generate(prompt, max_new_tokens=20)
    assert answer == recomputed(decoder, prompt, 20)
    assert len(answer.split()) > 10


def test_a_batch_of_unequal_prompts_equals_single_prompts(decoder: Model) -> None:
    together = decoder.generate(PROMPTS, max_new_tokens=20)
    assert together == [decoder.generate(prompt, max_new_tokens=20) for prompt in PROMPTS]
    assert len(set(together)) == 3


def test_many_prompts_are_split_into_batches(decoder: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"max_new_tokens": 10, "temperature": 1.0, "seed": 4}
    expected = decoder.generate(PROMPTS * 3, **settings)
    sizes = []
    decode = decoder._session.decode
    monkeypatch.setattr("compiler.runtime.generation.CACHE_TOKENS", 40)
    monkeypatch.setattr(
        decoder._session, "decode", lambda cache, batch, *rest: sizes.append(batch) or decode(cache, batch, *rest)
    )
    assert decoder.generate(PROMPTS * 3, **settings) == expected
    assert max(sizes) <= 4
    assert sum(sizes) == 9


def test_rows_end_independently_at_the_end_token(tmp_path: Path) -> None:
    with load(models.decoder_bundle(tmp_path / "free")) as model:
        free = model.generate(PROMPTS, max_new_tokens=20)
    end = free[0].split()[4]
    expected = [f" {text}".split(f" {end}", maxsplit=1)[0][1:] for text in free]
    assert len({len(text.split()) for text in expected}) > 1
    with load(models.decoder_bundle(tmp_path / "ended", ends=(TOKENS[end],))) as model:
        assert model.generate(PROMPTS, max_new_tokens=20) == expected
        assert [model.generate(prompt, max_new_tokens=20) for prompt in PROMPTS] == expected


def test_a_seed_reproduces_whatever_the_neighbours(decoder: Model) -> None:
    def sample(prompts: list[str], seed: int) -> list[str]:
        return decoder.generate(prompts, max_new_tokens=15, temperature=1.0, top_k=20, top_p=0.95, seed=seed)

    first = sample(["ban del", "gos"], 1)
    assert sample(["ban del", "gos"], 1) == first
    assert sample(["ban del", "kan lel mir nos"], 1)[0] == first[0]
    assert sample(["ban del", "gos"], 2) != first
    assert sample(["ban del", "ban del"], 1)[0] != sample(["ban del", "ban del"], 1)[1]


def test_streaming_joins_to_the_same_answer(decoder: Model) -> None:
    for settings in ({}, {"temperature": 1.0, "seed": 3}):
        whole = decoder.generate("ban del fir", max_new_tokens=20, **settings)
        pieces = list(decoder.generate("ban del fir", max_new_tokens=20, stream=True, **settings))
        assert len(pieces) > 5
        assert "" not in pieces
        assert "".join(pieces) == whole


def test_stop_texts_end_an_answer_and_are_left_out(decoder: Model) -> None:
    whole = decoder.generate("ban del fir", max_new_tokens=20)
    words = whole.split()
    stop = f"{words[2]} {words[3]}"
    expected = whole[: whole.index(stop)]
    assert decoder.generate("ban del fir", max_new_tokens=20, stop=stop) == expected
    assert decoder.generate("ban del fir", max_new_tokens=20, stop=["zzz", stop]) == expected
    assert "".join(decoder.generate("ban del fir", max_new_tokens=20, stop=[stop], stream=True)) == expected


def test_details_tell_why_an_answer_ended(decoder: Model) -> None:
    whole = decoder.generate("pan", max_new_tokens=20)
    stop = whole.split()[3]
    cut = whole[: whole.index(stop)]
    found = [
        decoder.generate("pan", max_new_tokens=20, details=True),
        decoder.generate("pan", max_new_tokens=20, details=True, stop=stop),
        decoder.generate("pan", max_new_tokens=20, details=True, cancel=_set()),
    ]
    assert [each.finish for each in found] == ["length", "stop", "cancelled"]
    assert [each.text for each in found[:2]] == [whole, cut]
    assert [len(each.tokens) for each in found] == [20, 4, 1]
    assert found[1].tokens == found[0].tokens[:4]
    assert all(each.logprobs.shape == (len(each.tokens),) and (each.logprobs < 0).all() for each in found)
    assert all(each.logits is None for each in found)


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@pytest.mark.parametrize("settings", [{}, {"beams": 3, "early_stopping": "never"}], ids=["greedy", "beams"])
def test_another_thread_ends_an_answer_and_gets_what_there_is(
    decoder: Model, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    cancel, begun = threading.Event(), threading.Event()
    steps = []
    decode = decoder._session.decode

    def slowed(*arguments: object) -> object:
        decoding = decode(*arguments)  # type: ignore[arg-type]
        step = decoding.step

        def waiting(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
            steps.append(len(lengths))
            if len(steps) == 4:
                begun.set()
                assert cancel.wait(10)
            return step(input_ids, lengths)

        decoding.step = waiting  # type: ignore[method-assign]
        return decoding

    monkeypatch.setattr(decoder._session, "decode", slowed)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            decoder.generate, ["pan", "tos"], max_new_tokens=30, cancel=cancel, details=True, **settings
        )
        assert begun.wait(10)
        cancel.set()
        found = answer.result(10)
    assert [each.finish for each in found] == ["cancelled"] * 2
    assert [len(each.tokens) for each in found] == [4, 4]
    assert [len(each.logprobs) for each in found] == [4, 4]


def test_closing_a_stream_frees_its_cache(decoder: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    decode = decoder._session.decode

    def remembered(*arguments: object) -> object:
        decoding = decode(*arguments)  # type: ignore[arg-type]
        opened.append(weakref.ref(decoding))
        return decoding

    monkeypatch.setattr(decoder._session, "decode", remembered)
    stream = decoder.generate("pan", stream=True)
    next(stream)
    assert opened[0]() is not None
    stream.close()  # type: ignore[attr-defined]
    assert opened[0]() is None


def test_a_search_finds_likelier_answers_and_batches_do_not_change_them(decoder: Model) -> None:
    settings = {"max_new_tokens": 12, "length_penalty": 0.0, "details": True}
    found = decoder.generate(PROMPTS, beams=4, **settings)
    greedy = decoder.generate(PROMPTS, **settings)
    assert sum(each.score for each in found) > sum(each.score for each in greedy)
    alone = [decoder.generate(prompt, beams=4, **settings) for prompt in PROMPTS]
    assert [each.tokens for each in alone] == [each.tokens for each in found]


def test_four_threads_at_once_get_the_same_answers(decoder: Model) -> None:
    expected = [decoder.generate(prompt, max_new_tokens=25) for prompt in PROMPTS]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda prompt: decoder.generate(prompt, max_new_tokens=25), PROMPTS * 4))
    assert answers == expected * 4


def test_two_streams_interleaved_do_not_disturb_each_other(decoder: Model) -> None:
    streams = [decoder.generate(prompt, max_new_tokens=10, stream=True) for prompt in PROMPTS[:2]]
    mixed = ["", ""]
    for pair in zip(*streams, strict=False):
        mixed = [text + piece for text, piece in zip(mixed, pair, strict=True)]
    for text, prompt in zip(mixed, PROMPTS, strict=False):
        assert decoder.generate(prompt, max_new_tokens=10).startswith(text)
        assert text


def test_chat_messages_go_through_the_template(decoder: Model) -> None:
    messages = [{"role": "user", "content": "ban del"}]
    expected = decoder.generate("<user> ban del <assistant>", max_new_tokens=8)
    assert decoder.generate(messages, max_new_tokens=8) == expected
    assert decoder.generate([messages, messages], max_new_tokens=8) == [expected] * 2
    with pytest.raises(InputError, match="no system messages"):
        decoder.generate([{"role": "system", "content": "x"}])


def test_an_answer_ends_where_the_context_does(decoder: Model) -> None:
    prompt = " ".join(["ban"] * (models.CONTEXT - 3))
    assert len(list(decoder.generate(prompt, max_new_tokens=50, stream=True))) <= 3
    together = decoder.generate([prompt, "gos"], max_new_tokens=20)
    assert together == [decoder.generate(prompt, max_new_tokens=20), decoder.generate("gos", max_new_tokens=20)]


def test_a_prompt_longer_than_the_context_is_refused_with_numbers(decoder: Model) -> None:
    with pytest.raises(ContextError, match=r"65 tokens\n.*at most 63 of 64"):
        decoder.generate(" ".join(["ban"] * 65))


def test_an_empty_prompt_begins_with_the_first_token(decoder: Model) -> None:
    assert decoder.generate("", max_new_tokens=5) == decoder.generate("<bos>", max_new_tokens=5)


def test_an_empty_prompt_without_a_first_token_is_refused(tmp_path: Path) -> None:
    folder = models.decoder_bundle(tmp_path / "bundle")
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.warns(UnverifiedWarning), load(folder, verify=False) as model, pytest.raises(InputError, match="empty"):
        model.generate("")


def test_zero_prompts(decoder: Model) -> None:
    assert decoder.generate([]) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": 5}, "wrong type"),
        ({"prompt": ["ban", 5]}, "prompt 1"),
        ({"prompt": ["ban", []]}, "prompt 1"),
        ({"prompt": [{"role": "user", "content": "x"}, "ban"]}, "chat message 1"),
        ({"prompt": ["ban"], "stream": True}, "single prompt"),
        ({"prompt": "ban", "max_new_tokens": 0}, "max_new_tokens"),
        ({"prompt": "ban", "max_new_tokens": 2.5}, "max_new_tokens"),
        ({"prompt": "ban", "stop": ""}, "stop texts"),
        ({"prompt": "ban", "stop": [3]}, "stop texts"),
        ({"prompt": "ban", "temperature": -1, "stream": True}, "temperature"),
        ({"prompt": "ban", "beams": 2, "stream": True}, "no beams"),
        ({"prompt": "ban", "details": True, "stream": True}, "no details"),
    ],
)
def test_wrong_arguments_fail_at_the_call(decoder: Model, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        decoder.generate(**arguments)  # type: ignore[call-overload]


def test_an_encoder_does_not_generate(encoder: Model) -> None:
    with pytest.raises(UsageError, match="feature-extraction"):
        encoder.generate("ban")

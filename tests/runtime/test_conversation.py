from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from compiler.engines import Decoding
from compiler.errors import ContextError, EngineError, InputError, UsageError
from compiler.runtime import Model, UnverifiedWarning, load
from tests import models

SAID = ["nel fan", "fir gos kan", "lel"]


@pytest.fixture
def read(decoder: Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each step was given."""
    counts: list[int] = []
    decode = decoder._session.decode

    def counted(*arguments: object) -> Decoding:
        decoding = decode(*arguments)  # type: ignore[arg-type]
        step = decoding.step

        def counting(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
            counts.append(input_ids.shape[1])
            return step(input_ids, lengths)

        decoding.step = counting  # type: ignore[method-assign]
        return decoding

    monkeypatch.setattr(decoder._session, "decode", counted)
    return counts


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Model]:
    """A model without a chat template."""
    folder = models.decoder_bundle(tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    with pytest.warns(UnverifiedWarning), load(folder, verify=False) as model:
        yield model


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 1.0, "seed": 5}, {"guidance_scale": 4.0}], ids=["greedy", "drawn", "guided"]
)
def test_answers_are_those_of_the_whole_conversation(decoder: Model, settings: dict[str, float]) -> None:
    with decoder.conversation() as chat:
        for said in SAID:
            messages = [*chat.messages, {"role": "user", "content": said}]
            answer = chat.send(said, max_new_tokens=6, **settings)
            assert answer == decoder.generate(messages, max_new_tokens=6, **settings)
            assert chat.messages == [*messages, {"role": "assistant", "content": answer}]


def test_only_what_is_new_is_read(decoder: Model, read: list[int]) -> None:
    with decoder.conversation() as chat:
        chat.send(SAID[0], max_new_tokens=6)
        assert read == [4, 1, 1, 1, 1, 1]  # <user> nel fan <assistant>
        assert len(chat.tokens) == 9
        read.clear()
        chat.send(SAID[1], max_new_tokens=3)
        assert read == [6, 1, 1]  # the last token of the answer, <user> fir gos kan <assistant>
        assert len(chat.tokens) == 17


def test_a_streamed_answer_counts_as_far_as_it_was_read(decoder: Model) -> None:
    with decoder.conversation() as chat:
        stream = chat.send(SAID[0], max_new_tokens=10, stream=True)
        assert chat.messages == []
        said = next(stream) + next(stream)
        for message in SAID[1:]:
            messages = [
                {"role": "user", "content": SAID[0]},
                {"role": "assistant", "content": said},
                *chat.messages[2:],
                {"role": "user", "content": message},
            ]
            assert chat.send(message, max_new_tokens=5) == decoder.generate(messages, max_new_tokens=5)
        assert list(stream) == []
        assert chat.messages[1]["content"] == said


def test_closing_frees_the_cache_and_the_next_message_reads_all(decoder: Model, read: list[int]) -> None:
    chat = decoder.conversation()
    chat.send(SAID[0], max_new_tokens=2)
    chat.close()
    assert chat.tokens == ()
    read.clear()
    messages = [*chat.messages, {"role": "user", "content": SAID[1]}]
    assert chat.send(SAID[1], max_new_tokens=4) == decoder.generate(messages, max_new_tokens=4)
    assert read[0] == 11


def test_a_cancelled_answer_is_what_was_written(decoder: Model) -> None:
    cancel = threading.Event()
    with decoder.conversation() as chat:
        whole = decoder.generate([{"role": "user", "content": SAID[0]}], max_new_tokens=20)
        pieces = []
        for piece in chat.send(SAID[0], max_new_tokens=20, stream=True, cancel=cancel):
            pieces.append(piece)
            if len(pieces) == 3:
                cancel.set()
        assert chat.messages[-1]["content"] == "".join(pieces)
        assert whole.startswith("".join(pieces))
        assert len("".join(pieces).split()) < len(whole.split())


def test_a_message_that_does_not_fit_changes_nothing(decoder: Model) -> None:
    with decoder.conversation() as chat:
        chat.send(SAID[0], max_new_tokens=6)
        before = (list(chat.messages), chat.tokens)
        with pytest.raises(ContextError, match=r"tokens\n.*at most 63 of 64"):
            chat.send("ban " * 60)
        with pytest.raises(InputError, match="temperature"):
            chat.send("ban", temperature=-1)
        with pytest.raises(InputError, match="int"):
            chat.send(5)  # type: ignore[call-overload]
        with pytest.raises(InputError, match="no beams"):
            chat.send("ban", beams=2)
        with pytest.raises(InputError, match="whole conversation"):
            chat.send("ban", adapter="other")
        assert (chat.messages, chat.tokens) == before
        messages = [*chat.messages, {"role": "user", "content": "gos"}]
        assert chat.send("gos", max_new_tokens=200) == decoder.generate(messages, max_new_tokens=200)


def test_a_failing_engine_changes_nothing(decoder: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with decoder.conversation() as chat:
        chat.send(SAID[0], max_new_tokens=3)
        before = list(chat.messages)
        with monkeypatch.context() as patch:
            patch.setattr(type(chat._decoding), "_run", _fail)
            with pytest.raises(EngineError, match="broken"):
                chat.send(SAID[1])
        assert chat.messages == before
        messages = [*before, {"role": "user", "content": SAID[1]}]
        assert chat.send(SAID[1], max_new_tokens=5) == decoder.generate(messages, max_new_tokens=5)


def _fail(decoding: object, sequence: int) -> None:
    raise EngineError("broken")


def test_without_a_template_the_text_goes_on(plain: Model) -> None:
    with plain.conversation() as chat:
        first = chat.send("ban del", max_new_tokens=4)
        assert first == plain.generate("ban del", max_new_tokens=4)
        second = chat.send(" fir", max_new_tokens=4)
        assert second == plain.generate(f"ban del{first} fir", max_new_tokens=4)
    with pytest.raises(InputError, match="no chat template"):
        plain.conversation(system="Be kind.")


def test_a_system_message_comes_first(plain: Model) -> None:
    (plain.folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }} {% endfor %}<assistant>")
    with plain.conversation(system="kan lel") as chat:
        assert chat.send("ban", max_new_tokens=5) == plain.generate("kan lel ban <assistant>", max_new_tokens=5)
        assert chat.messages[0] == {"role": "system", "content": "kan lel"}


def test_an_encoder_holds_no_conversation(encoder: Model) -> None:
    with pytest.raises(UsageError, match="feature-extraction"):
        encoder.conversation()

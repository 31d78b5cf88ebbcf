"""Models of a few lines of numpy, as reference and as engine, and the faults an engine may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from compiler.check import check
from compiler.checkpoint.rounded import Rounding
from compiler.records import Budget, CacheShape, Checked, Manifest, PassRun
from tests import models
from tests.models import VOCABULARY, WORDS

Feeds = dict[str, np.ndarray]
HIDDEN = 24
TEXT = " ".join(WORDS[i * i % 47] for i in range(24000))
WEIGHTS = np.random.default_rng(1)
EMBEDDING = WEIGHTS.normal(size=(VOCABULARY, HIDDEN))
MIXER = WEIGHTS.normal(size=(HIDDEN, HIDDEN))
HEAD = WEIGHTS.normal(size=(HIDDEN, VOCABULARY))
EMBEDDING = np.concatenate([EMBEDDING, WEIGHTS.normal(size=(1, HIDDEN))])  # one more than the words, for [MASK]


ROUNDED = 1e-3  # the noise of a toy that rounds


class Toy:
    """A `Reference` that computes in `dtype`. Encoders mix with the mean, decoders with the mean so far.

    As an encoder it answers one `task`, with three classes.
    """

    def __init__(
        self, dtype: str | Rounding = "float32", *, task: str = "feature-extraction", noise: float = 0.0
    ) -> None:
        rounds = isinstance(dtype, Rounding)
        self.dtype, self.task = np.dtype("float32" if isinstance(dtype, Rounding) else dtype), task
        self.noise = ROUNDED if rounds else noise if dtype == "float32" else 0.0

    def run(self, feeds: Feeds) -> Feeds:
        mask = feeds["attention_mask"][..., None].astype(self.dtype)
        states = EMBEDDING.astype(self.dtype)[feeds["input_ids"]]
        mean = (states * mask).sum(axis=-2, keepdims=True) / mask.sum(axis=-2, keepdims=True)
        vectors = self._noisy(np.tanh((states + mean) @ MIXER.astype(self.dtype)))
        tokens = vectors @ HEAD.astype(self.dtype)[:, :3]
        texts = (vectors * mask).sum(axis=-2) @ HEAD.astype(self.dtype)[:, :3]
        match self.task:
            case "feature-extraction":
                return {"last_hidden_state": vectors}
            case "fill-mask" | "token-classification":
                return {"logits": tokens}
            case "question-answering":
                return {"start_logits": tokens[..., 0], "end_logits": tokens[..., 1]}
            case "replaced-token-detection":
                return {"logits": tokens[..., 0]}
            case "multiple-choice":
                return {"logits": texts[..., 0]}
            case _:
                return {"logits": texts}

    def vectors(self, outputs: Feeds, feeds: Feeds) -> np.ndarray:
        rows = zip(outputs["last_hidden_state"], feeds["attention_mask"] == 1, strict=True)
        return np.stack([states[real].mean(axis=0) for states, real in rows])

    def logits(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        position_ids: np.ndarray,
        keep: np.ndarray | None = None,
    ) -> np.ndarray:
        states = EMBEDDING.astype(self.dtype)[input_ids]
        so_far = states.cumsum(axis=1) / (position_ids[..., None] + 1).astype(self.dtype)
        logits = self._noisy(np.tanh((states + so_far) @ MIXER.astype(self.dtype)) @ HEAD.astype(self.dtype))
        return logits if keep is None else logits[:, keep]

    def generate(self, input_ids: np.ndarray, attention_mask: np.ndarray, max_new_tokens: int) -> np.ndarray:
        ids = input_ids
        for _ in range(max_new_tokens):
            ids = np.concatenate([ids, greedy(self, ids)[:, -1:]], axis=1)
        return ids[:, input_ids.shape[1] :]

    def close(self) -> None:
        pass

    def _noisy(self, array: np.ndarray) -> np.ndarray:
        return array + self.noise * np.sin(np.arange(array.size)).reshape(array.shape).astype(self.dtype)


def positions(ids: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)


def greedy(model: Toy, ids: np.ndarray) -> np.ndarray:
    chosen: np.ndarray = model.logits(ids, np.ones_like(ids), positions(ids)).argmax(axis=-1)
    return chosen


class ToySession:
    """A `Session` on a Toy. `change` sees every output of `run`, `forget` hides tokens from a step of `decode`."""

    def __init__(
        self,
        model: Toy,
        change: Callable[[np.ndarray], np.ndarray] = lambda output: output,
        forget: Callable[[Sequence[int]], Sequence[int]] = lambda row: row,
    ) -> None:
        self.model, self.change, self.forget = model, change, forget

    def run(self, feeds: Feeds) -> Feeds:
        if "position_ids" in feeds:
            assert feeds["past_key_values.0.key"].shape[2] == 0
            ids = feeds["input_ids"]
            logits = self.model.logits(ids, feeds["attention_mask"], feeds["position_ids"])
            return {"logits": self.change(logits)}
        return {name: self.change(array) for name, array in self.model.run(feeds).items()}

    def decode(self, cache: CacheShape, batch: int, capacity: int) -> ToyDecoding:
        return ToyDecoding(self, batch, capacity)

    def close(self) -> None:
        pass


class ToyDecoding:
    """Keeps the tokens instead of a cache."""

    def __init__(self, session: ToySession, batch: int, capacity: int) -> None:
        self.capacity, self.session = capacity, session
        self.rows: list[list[int]] = [[] for _ in range(batch)]

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        answers = []
        for row, new, length in zip(self.rows, input_ids, lengths, strict=True):
            assert length <= self.capacity
            row.extend(int(token) for token in new[: length - len(row)])
            ids = np.array([self.session.forget(row)])
            logits = self.session.model.logits(ids, np.ones_like(ids), positions(ids))
            answers.append(self.session.change(logits)[0, -1])
        return np.stack(answers)

    def select(self, rows: np.ndarray) -> None:
        self.rows = [list(self.rows[row]) for row in rows]

    def truncate(self, length: int) -> None:
        (row,) = self.rows
        del row[length:]


def manifest(kind: Literal["encoder", "decoder"], precision: str = "float32", task: str = "") -> Manifest:
    """Of a Toy: a decoder has the concatenated layout, so no `logits_positions`."""
    from msgspec.structs import replace

    encoder = ("input_ids", "attention_mask")
    inputs, outputs = models.decoder_signature(shared=False)
    choices = ("batch", "choices", "sequence") if task == "multiple-choice" else None
    made = (
        models.manifest(kind, inputs, outputs, layout="concatenated")
        if kind == "decoder"
        else models.manifest(
            kind,
            tuple(replace(tensor, shape=choices or tensor.shape) for tensor in inputs if tensor.name in encoder),
            outputs[:1],
        )
    )
    return replace(made, precision=precision, task=task or made.task)


def checked(
    session: ToySession,
    about: Manifest,
    folder: Path,
    *,
    noise: float = 0.0,
    budget: Budget | None = None,
    passes: Sequence[PassRun] = (),
) -> Checked:
    """Run `check` against a Toy reference with that much noise."""
    models.write_tokenizer(folder, bos=about.kind == "encoder")
    return check(
        session,
        about,
        lambda dtype: Toy(dtype, task=about.task, noise=noise),
        [TEXT],
        budget=budget or Budget(),
        tokenizer=folder / "tokenizer.json",
        passes=passes,
    )

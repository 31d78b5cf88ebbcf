"""Text embeddings: texts in, one vector each out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from tokenizers import Encoding

from compiler.engines import Feeds, Session
from compiler.errors import InputError, UsageError
from compiler.records import Manifest, Pooling
from compiler.runtime.text import Text

OUTPUT = "last_hidden_state"
BATCH_TOKENS = 1024  # a batch's rows times its longest row: what fits a core's cache and still feeds all threads
_TINY = 1e-12


class Embedder:
    """Embeds with one bundle's encoder. A checkpoint that declares no pooling gets the mean, as it is."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        hidden = next((tensor.shape[-1] for tensor in manifest.outputs if tensor.name == OUTPUT), None)
        if manifest.kind != "encoder" or not isinstance(hidden, int):
            raise UsageError(
                f"this bundle gives no token vectors to pool: it is for {manifest.task}",
                action="build it for feature-extraction",
            )
        self._hidden = hidden
        self._inputs = [(tensor.name, np.dtype(tensor.dtype)) for tensor in manifest.inputs]
        self._pooling = manifest.pooling or Pooling(mode="mean", normalize=False)
        self._text = text

    def __call__(self, session: Session, texts: Sequence[str], normalize: bool | None) -> np.ndarray:
        """See `Model.embed`."""
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InputError("embed() takes a list of texts", found=_first_stranger(texts), expected="strings")
        encodings = self._text.encode(texts)
        vectors = np.zeros((len(encodings), self._hidden), np.float32)
        for rows in batches([len(encoding.ids) for encoding in encodings], BATCH_TOKENS):
            feeds = self._feeds([encodings[row] for row in rows])
            vectors[rows] = pool(session.run(feeds)[OUTPUT], feeds["attention_mask"], self._pooling.mode)
        if self._pooling.normalize if normalize is None else normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
        return vectors

    def _feeds(self, encodings: Sequence[Encoding]) -> Feeds:
        lengths = np.array([len(encoding.ids) for encoding in encodings])
        columns = np.arange(lengths.max())
        feeds: Feeds = {}
        for name, dtype in self._inputs:
            match name:
                case "input_ids":
                    feeds[name] = _padded([encoding.ids for encoding in encodings], self._text.pad, dtype)
                case "attention_mask":
                    feeds[name] = (columns < lengths[:, None]).astype(dtype)
                case "token_type_ids":
                    feeds[name] = _padded([encoding.type_ids for encoding in encodings], 0, dtype)
                case "position_ids":
                    feeds[name] = np.tile(columns.astype(dtype), (len(lengths), 1))
                case _:
                    raise UsageError(f'embed() cannot make the input "{name}"', action="use run() with tensors")
        return feeds


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Rows of similar length together, each batch of at most `tokens` with its padding (or a single row)."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[row] * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pool(states: np.ndarray, mask: np.ndarray, mode: str) -> np.ndarray:
    """One vector a row, (batch, hidden), of token vectors (batch, sequence, hidden); mask (batch, sequence) of 0 and 1.

    Rows are padded on the right. A row without tokens gives zeros.
    """
    counts = mask.sum(axis=1)
    if mode == "mean":
        weights = (mask / np.maximum(counts, 1)[:, None]).astype(states.dtype)
        return np.asarray(np.matmul(weights[:, None, :], states)[:, 0])
    positions = np.zeros_like(counts) if mode == "cls" else np.maximum(counts - 1, 0)
    return np.asarray(states[np.arange(len(states)), positions] * (counts > 0)[:, None].astype(states.dtype))


def _padded(rows: Sequence[Sequence[int]], fill: int, dtype: np.dtype) -> np.ndarray:
    padded = np.full((len(rows), max(map(len, rows))), fill, dtype)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded


def _first_stranger(texts: Sequence[object]) -> str:
    if isinstance(texts, str):
        return "a single str"
    return next(f"{type(text).__name__} at {index}" for index, text in enumerate(texts) if not isinstance(text, str))

"""Text embeddings: texts in, one vector each out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import Encoding

from compiler.engines import Feeds, Session
from compiler.errors import InputError, UsageError
from compiler.records import Manifest, Pooling
from compiler.runtime.batching import batches
from compiler.runtime.text import Text

OUTPUT = "last_hidden_state"
BATCH_TOKENS = 512  # a batch's rows times its longest row; larger batches fall out of the CPU's caches
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
        filled = [row for row, encoding in enumerate(encodings) if encoding.ids]  # without tokens it stays zeros
        for picked in batches([len(encodings[row].ids) for row in filled], BATCH_TOKENS):
            rows = [filled[index] for index in picked]
            batch = [encodings[row] for row in rows]
            lengths = np.array([len(encoding.ids) for encoding in batch])
            mask = np.arange(lengths.max()) < lengths[:, None]
            vectors[rows] = pool(session.run(self._feeds(batch, mask))[OUTPUT], mask, self._pooling.mode)
        if self._pooling.normalize if normalize is None else normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
        return vectors

    def _feeds(self, encodings: Sequence[Encoding], mask: np.ndarray) -> Feeds:
        feeds: Feeds = {}
        for name, dtype in self._inputs:
            match name:
                case "input_ids":
                    feeds[name] = _padded([encoding.ids for encoding in encodings], self._text.pad, dtype)
                case "attention_mask":
                    feeds[name] = mask.astype(dtype)
                case "token_type_ids":
                    feeds[name] = _padded([encoding.type_ids for encoding in encodings], 0, dtype)
                case "position_ids":
                    feeds[name] = np.tile(np.arange(mask.shape[1], dtype=dtype), (len(mask), 1))
                case _:
                    raise UsageError(f'embed() cannot make the input "{name}"', action="use run() with tensors")
        return feeds


def pool(states: np.ndarray, mask: np.ndarray, mode: str) -> np.ndarray:
    """One vector a row, (batch, hidden), of token vectors (batch, sequence, hidden); mask (batch, sequence) bool.

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

"""Text embeddings: texts in, one vector each out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.engines import Session
from compiler.errors import UsageError
from compiler.records import Manifest, Pooling
from compiler.runtime.encoding import Encoder
from compiler.runtime.inputs import as_list
from compiler.runtime.text import Text

OUTPUT = "last_hidden_state"
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
        self._pooling = manifest.pooling or Pooling(mode="mean", normalize=False)
        self._encoder = Encoder(manifest, text, manifest.task)

    def __call__(self, session: Session, texts: Sequence[str], normalize: bool | None) -> np.ndarray:
        """See `Model.embed`."""
        encodings = self._encoder.encode(as_list(texts, "embed()"))
        vectors = np.zeros((len(encodings), self._hidden), np.float32)  # a text without tokens stays zeros
        for rows, mask, outputs in self._encoder.run(session, encodings):
            vectors[rows] = pool(outputs[OUTPUT], mask, self._pooling.mode)
        if self._pooling.normalize if normalize is None else normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
        return vectors


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

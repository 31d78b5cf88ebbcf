"""A loaded bundle that takes one token for another: a candidate whose answers flip where that token is."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.compare.asked import Asked
from compiler.engines import Feeds
from compiler.runtime import Model


class Misreading:
    """A session that gives another one `instead` of a token. Its decodings do so too."""

    def __init__(self, inner: Any, token: int, instead: int) -> None:
        self._inner, self._token, self._instead = inner, token, instead

    def run(self, feeds: Feeds) -> Feeds:
        return dict(self._inner.run({**feeds, "input_ids": self._read(feeds["input_ids"])}))

    def encode(self, feeds: Feeds) -> Feeds:
        return dict(self._inner.encode({**feeds, "input_ids": self._read(feeds["input_ids"])}))

    def decode(self, *arguments: Any) -> Any:
        """The decoder of an encoder-decoder reads what it wrote, and reads it well."""
        decoding = self._inner.decode(*arguments)
        return decoding if len(arguments) > 3 else _Decoding(decoding, self._read)

    def close(self) -> None:
        self._inner.close()

    def _read(self, ids: np.ndarray) -> np.ndarray:
        return np.where(ids == self._token, self._instead, ids)


class _Decoding:
    def __init__(self, inner: Any, read: Any) -> None:
        self._inner, self._read = inner, read

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return np.asarray(self._inner.step(self._read(input_ids), lengths))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def misreading(asked: Asked, word: str, instead: str) -> Asked:
    """The same bundle, taking the token `word` for the token `instead`."""
    token, other = (asked.text.tokenizer.token_to_id(each) for each in (word, instead))
    session = Misreading(asked.session, token, other)
    return Asked(Model(asked.model.folder, asked.model.manifest, session), session, asked.text)

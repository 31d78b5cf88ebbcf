"""Whether one text follows another."""

from __future__ import annotations

from compiler.engines import Session
from compiler.errors import InputError
from compiler.records import Manifest
from compiler.runtime.encoding import Encoder
from compiler.runtime.inputs import as_text, shown
from compiler.runtime.pairs import single
from compiler.runtime.scores import softmax
from compiler.runtime.text import Text

TASK = "next-sentence-prediction"
IS_NEXT = 0  # the column of the logits that means "follows"


class NextSentence:
    """Judges pairs with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._encoder = Encoder(manifest, text, TASK)

    def __call__(self, session: Session, first: str, second: str) -> float:
        """See `Model.is_next`."""
        pair = (as_text(first, "the first text"), as_text(second, "the second text"))
        for _, _, outputs in self._encoder.run(session, self._encoder.encode([single(pair)])):
            return float(softmax(outputs["logits"][0])[IS_NEXT])
        raise InputError("the texts have no tokens", found=shown(pair), expected="some text")

"""The methods of a loaded encoder: one for each task it can be built for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeVar, overload

import numpy as np

from compiler.engines import Session
from compiler.records import Manifest
from compiler.runtime.answering import Answer, Answerer
from compiler.runtime.choices import Choice, Chooser
from compiler.runtime.classification import Classifier, Label, Ranked
from compiler.runtime.embedding import Embedder
from compiler.runtime.encoding import Pair
from compiler.runtime.masks import Fillings, MaskFiller
from compiler.runtime.next_sentence import NextSentence
from compiler.runtime.replaced import ReplacementDetector, Suspect
from compiler.runtime.text import Text
from compiler.runtime.tokens import Entity, TokenClassifier


class _Part(Protocol):
    def __init__(self, manifest: Manifest, text: Text) -> None: ...


P = TypeVar("P", bound=_Part)


class Understanding:
    """What `Model` does with texts other than going on with them.

    Wherever a method takes a text or a list, a list gives a list in the same order, batched by length. Texts are cut
    where the checkpoint cuts them, at the latest at its context. Every method raises InputError for an argument that
    it cannot take, and UsageError when the bundle was built for another task.
    """

    def __init__(self) -> None:
        self._parts: dict[type[Any], Any] = {}

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        normalize: bool | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        adapter: str | None = None,
    ) -> np.ndarray:
        """One vector a text, (texts, width) float32, in the order given; (width,) for a single text.

        Args:
            texts: a text, or any number of them; zero give (0, width).
            normalize: scale vectors to length 1. None does what the checkpoint declares; False leaves that out.
            prompt_name: one of the checkpoint's prompts (`manifest.pooling.prompts`), to stand in front of every text;
                "query" and "document" are empty where it has none of this name. None is the one that the checkpoint
                calls its default, if it does.
            prompt: any other text to stand there; "" is none.
            adapter: the name of one of the bundle's adapters.

        Raises:
            UsageError: the checkpoint has no prompt of this name.
        """
        return self._part(Embedder)(self._with(adapter), texts, normalize, prompt_name, prompt)

    def embed_query(
        self, texts: str | Sequence[str], *, normalize: bool | None = None, adapter: str | None = None
    ) -> np.ndarray:
        """`embed` for texts that look for others, with the checkpoint's prompt "query", or else none.

        A default prompt does not count; `encode_query` of sentence-transformers does the same.
        """
        return self._part(Embedder)(self._with(adapter), texts, normalize, "query", None, task="query")

    def embed_document(
        self, texts: str | Sequence[str], *, normalize: bool | None = None, adapter: str | None = None
    ) -> np.ndarray:
        """`embed` for texts that are found, with the checkpoint's prompt "document", or else none.

        As `encode_document` of sentence-transformers, which never gets to prompts of other names ("passage").
        """
        return self._part(Embedder)(self._with(adapter), texts, normalize, "document", None, task="document")

    def fill_mask(
        self, text: str | Sequence[str], top_k: int = 5, *, targets: str | Sequence[str] | None = None
    ) -> Fillings | list[Fillings]:
        """The likeliest tokens for the mask: {score, token, token_str, sequence}, best first.

        Args:
            text: with one mask token; several give a list for each of them.
            top_k: so many tokens.
            targets: choose among these words only; one that is several tokens counts as its first, with a warning.
        """
        return self._part(MaskFiller)(self._session, text, top_k, targets)

    @overload
    def classify(
        self, text: str | Pair, top_k: int | None = 1, *, function: str | None = None, adapter: str | None = None
    ) -> list[Label]: ...

    @overload
    def classify(
        self,
        text: list[str] | list[Pair],
        top_k: int | None = 1,
        *,
        function: str | None = None,
        adapter: str | None = None,
    ) -> list[list[Label]]: ...

    def classify(
        self,
        text: str | Pair | Sequence[str | Pair],
        top_k: int | None = 1,
        *,
        function: str | None = None,
        adapter: str | None = None,
    ) -> list[Label] | list[list[Label]]:
        """The likeliest labels: {label, score}, best first.

        Args:
            text: a text, a pair as a tuple, or a list of either. A pair without a second text is the first alone.
            top_k: so many labels; None is all.
            function: "softmax", "sigmoid" or "none". None is what the checkpoint declares (CrossEncoder) or was trained
                for: softmax for one label of several, sigmoid for any number of labels or a single one, none for
                regression.
            adapter: the name of one of the bundle's adapters.
        """
        return self._part(Classifier).classify(self._with(adapter), text, top_k, function)

    def rerank(self, query: str, texts: Sequence[str]) -> list[Ranked]:
        """The texts as {index, score, text}, best first, by a model that judges pairs of query and text.

        The score is what `classify` gives for the only label, or for the last of several.
        """
        return self._part(Classifier).rerank(self._session, query, texts)

    @overload
    def classify_tokens(
        self, text: str, aggregation: str = "none", *, ignore: Collection[str] = ("O",)
    ) -> list[Entity]: ...

    @overload
    def classify_tokens(
        self, text: list[str], aggregation: str = "none", *, ignore: Collection[str] = ("O",)
    ) -> list[list[Entity]]: ...

    def classify_tokens(
        self, text: str | Sequence[str], aggregation: str = "none", *, ignore: Collection[str] = ("O",)
    ) -> list[Entity] | list[list[Entity]]:
        """Tokens {entity, score, index, word, start, end}, or entities {entity_group, score, word, start, end}.

        Args:
            text: a text or a list.
            aggregation: "none" gives tokens. Otherwise neighbours of one entity are joined: tokens with "simple", or
                words, labelled by their "first" token, the "average" of their tokens or the surest ("max").
            ignore: labels to leave out.
        """
        return self._part(TokenClassifier)(self._session, text, aggregation, ignore)

    def answer(
        self,
        question: str,
        context: str,
        *,
        top_k: int = 1,
        max_answer_length: int = 15,
        doc_stride: int = 128,
        allow_no_answer: bool = False,
    ) -> Answer | list[Answer]:
        """Where a text answers a question: {score, start, end, answer}; a list, best first, when top_k is over 1.

        Args:
            question: must leave room for the text.
            context: of any length; it is read in windows.
            top_k: so many answers.
            max_answer_length: most tokens of an answer.
            doc_stride: tokens that two windows share, at most half a window.
            allow_no_answer: one of the answers may be "", scored with the probability that there is none.

        Raises:
            ContextError: the question is as long as a window.
        """
        answers = self._part(Answerer)(
            self._session,
            question,
            context,
            top_k=top_k,
            max_answer_length=max_answer_length,
            doc_stride=doc_stride,
            allow_no_answer=allow_no_answer,
        )
        return answers[0] if top_k == 1 else answers

    def choose(self, prompt: str, choices: Sequence[str]) -> Choice:
        """The likeliest way to go on: {index, choice, probabilities}."""
        return self._part(Chooser)(self._session, prompt, choices)

    def is_next(self, first: str, second: str) -> float:
        """The probability that the second text follows the first."""
        return self._part(NextSentence)(self._session, first, second)

    def detect_replaced(self, text: str | Sequence[str]) -> list[Suspect] | list[list[Suspect]]:
        """Every token with the probability that it was replaced: {index, word, score, start, end}."""
        return self._part(ReplacementDetector)(self._session, text)

    manifest: Manifest

    @property
    @abstractmethod
    def _session(self) -> Session: ...

    @abstractmethod
    def _with(self, adapter: str | None) -> Session:
        """The session with an adapter in effect."""

    @property
    @abstractmethod
    def _text(self) -> Text: ...

    def _part(self, kind: type[P]) -> P:
        """The bundle's one instance, made when first used. Threads that race make equal ones."""
        if kind not in self._parts:
            self._parts[kind] = kind(self.manifest, self._text)
        part: P = self._parts[kind]
        return part

"""Text generation: prompts in, answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from compiler.engines import Decoding, Session
from compiler.errors import ContextError, InputError, UsageError
from compiler.records import Manifest
from compiler.runtime.batching import batches
from compiler.runtime.beams import Search, search
from compiler.runtime.decoding import Rows
from compiler.runtime.guidance import guide
from compiler.runtime.options import Options, resolve
from compiler.runtime.pieces import Pieces
from compiler.runtime.sampling import Sampler
from compiler.runtime.starts import Prompt, Prompts, Start, is_single, starts_of
from compiler.runtime.text import Text

CACHE_TOKENS = 8192  # rows times capacity of one batch: the memory that many prompts at once may take


class Generated(NamedTuple):
    """An answer with what it rests on.

    Attributes:
        text: without what ended it.
        tokens: all that were chosen, the one that ended the answer included.
        logprobs: (tokens,) float32, the log-probability the model gave each of them, before any setting changed it.
        score: their sum; of a beam search, the score by which this answer won.
        finish: why it ended.
        logits: (tokens, vocabulary) float32, where they were asked for; a beam search keeps none.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: np.ndarray
    score: float
    finish: Literal["end", "stop", "length", "cancelled"]
    logits: np.ndarray | None = None


class Answer:
    """One answer as it grows, of at most `limit` tokens after its start."""

    def __init__(self, start: Start, limit: int, options: Options, row: int, text: Text) -> None:
        self.limit = limit
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.logits: list[np.ndarray] = []
        self.finish: Literal["end", "stop", "length", "cancelled"] | None = None
        self._text = text
        self.options = options
        self._history = list(start.prompt)
        self._source = start.source or None
        self._sampler = Sampler(options.sampling, row)
        self._pieces = Pieces(text.tokenizer, start.prompt, options.stops, tidies=text.tidies)

    def choose(self, logits: np.ndarray, scores: np.ndarray) -> int:
        """A token for the model's logits (vocabulary,) float32 and, if it is guided, its scores."""
        rules = self.options.rules
        if rules.active:
            scores = rules(scores, self._history, len(self.tokens), self.limit, self._source)
        token = self._sampler(scores)
        if self.options.details:
            shifted = logits - logits.max()
            self.logprobs.append(float(shifted[token] - np.log(np.exp(shifted).sum())))
        if self.options.details == "logits":
            self.logits.append(logits.copy())
        return token

    def add(self, token: int) -> str:
        """Take the token; gives the text that is certain now. `finish` says whether the answer is over."""
        self.tokens.append(token)
        self._history.append(token)
        ended = token in self.options.rules.ends
        piece = "" if ended else self._pieces.add(token)
        if ended:
            self.finish = "end"
        elif self._pieces.stopped:
            self.finish = "stop"
        elif len(self.tokens) == self.limit:
            self.finish = "length"
        elif self.options.cancelled:
            self.finish = "cancelled"
        return piece + (self._pieces.end() if self.finish else "")


class Generator:
    """Generates with one bundle."""

    def __init__(self, manifest: Manifest, text: Text) -> None:
        self._starts = starts_of(manifest, text)
        self._context, self._task = manifest.context_length, manifest.task
        self._guides = manifest.encoder is None
        self._text = text

    def options(self, arguments: Mapping[str, Any]) -> Options:
        """Raises InputError for an argument that does not fit, UsageError for one that the bundle has no use for."""
        options = resolve(arguments, self._text.declared, self._text.ends)
        negative = arguments.get("negative_prompt")
        if options.guidance != 1 and not self._guides:
            raise UsageError(f"guidance_scale: nothing for a bundle for {self._task}", action="leave it out")
        if negative is None:
            return options
        if options.guidance == 1:
            raise InputError("negative_prompt does nothing by itself", expected="a guidance_scale, other than 1, too")
        if not is_single(negative):
            raise InputError("a single text is the negative prompt of all", found="a list of them")
        return replace(options, negative=tuple(self._starts.read(negative, options.shown).prompt))

    def __call__(
        self, session: Session, prompt: Prompt | Prompts, options: Options, *, stream: bool
    ) -> str | list[str] | Generated | list[Generated] | Iterator[str]:
        """See `Model.generate`. All arguments are checked before the first token, also when streaming."""
        single = is_single(prompt)
        if stream and not single:
            raise InputError("only a single prompt can be streamed", found="a list of prompts", expected="one prompt")
        if stream and (options.details or options.beams.count > 1):
            raise InputError(
                "only text is streamed, as it is chosen",
                expected="no details and no beams",
                action="leave out stream, or give beams=1",
            )
        prompts = cast("list[Prompt]", [prompt] if single else prompt)
        starts = [self._starts.read(each, options.shown) for each in prompts]
        if stream:
            return (piece for _, piece in self._grow(session, starts, [self._answer(starts[0], options, 0)]))
        found = self.generated(session, starts, options)
        if not options.details:
            texts = [each.text for each in found]
            return texts[0] if single else texts
        return found[0] if single else found

    def generated(self, session: Session, starts: Sequence[Start], options: Options) -> list[Generated]:
        """One answer for each start."""
        found: list[Generated] = [_EMPTY] * len(starts)
        beside = len(options.negative) or 1
        sizes = [
            start.size + limit + (beside + limit if options.guidance != 1 else 0)
            for start in starts
            for limit in (self._limit(start, options),)
        ]
        for rows in batches([size * options.beams.count for size in sizes], CACHE_TOKENS):
            make = self._searched if options.beams.count > 1 else self._chosen
            for row, generated in zip(rows, make(session, starts, rows, options), strict=True):
                found[row] = generated
        return found

    def pieces(
        self, decoding: Decoding, answer: Answer, new: Sequence[int], held: int, open_cache: Callable[[int], Decoding]
    ) -> Iterator[str]:
        """The answer after `held` tokens that the decoding has and `new` ones that it has not, piece by piece.

        `open_cache` makes another decoding of one row, for a guide.
        """
        beside = guide(open_cache, [new], [answer.limit], answer.options, self._text.pad)
        rows = Rows(decoding, [new], self._text.pad, [held], beside)
        return (piece for _, piece in _grown(rows, [answer]))

    def _limit(self, start: Start, options: Options) -> int:
        return limit(len(start.prompt), self._context, options)

    def _answer(self, start: Start, options: Options, row: int) -> Answer:
        return Answer(start, self._limit(start, options), options, row, self._text)

    def _open(self, session: Session, starts: Sequence[Start], limits: Sequence[int]) -> Decoding:
        capacity = max(len(start.prompt) + limit for start, limit in zip(starts, limits, strict=True))
        return self._starts.open(session, starts, capacity)

    def _grow(self, session: Session, starts: Sequence[Start], answers: Sequence[Answer]) -> Iterator[tuple[int, str]]:
        prompts, limits = [start.prompt for start in starts], [answer.limit for answer in answers]
        beside = guide(partial(self._starts.open, session, starts), prompts, limits, answers[0].options, self._text.pad)
        return _grown(Rows(self._open(session, starts, limits), prompts, self._text.pad, guide=beside), answers)

    def _chosen(
        self, session: Session, starts: Sequence[Start], rows: Sequence[int], options: Options
    ) -> list[Generated]:
        """Greedy or drawn."""
        answers = [self._answer(starts[row], options, row) for row in rows]
        texts = [""] * len(rows)
        for index, piece in self._grow(session, [starts[row] for row in rows], answers):
            texts[index] += piece
        return [
            Generated(
                text=text,
                tokens=tuple(answer.tokens),
                logprobs=np.array(answer.logprobs, np.float32),
                score=float(sum(answer.logprobs)),
                finish=answer.finish or "cancelled",
                logits=np.stack(answer.logits) if answer.logits else None,
            )
            for text, answer in zip(texts, answers, strict=True)
        ]

    def _searched(
        self, session: Session, starts: Sequence[Start], rows: Sequence[int], options: Options
    ) -> list[Generated]:
        """By beam search."""
        chosen = [starts[row] for row in rows]
        limits = [self._limit(start, options) for start in chosen]
        searches = [
            Search(
                start.prompt,
                limit,
                options.beams,
                options.rules,
                self._stopped(start.prompt, options.stops),
                source=start.source or None,
            )
            for start, limit in zip(chosen, limits, strict=True)
        ]
        decoding, prompts = self._open(session, chosen, limits), [start.prompt for start in chosen]
        beside = guide(partial(self._starts.open, session, chosen), prompts, limits, options, self._text.pad)
        search(decoding, searches, self._text.pad, lambda: options.cancelled, beside)
        found = []
        for each in searches:
            best = each.best()
            ended = bool(best.tokens) and best.tokens[-1] in options.rules.ends
            pieces = Pieces(self._text.tokenizer, each.prompt, options.stops, tidies=self._text.tidies)
            text = ""
            for token in best.tokens[: len(best.tokens) - ended]:
                text += "" if pieces.stopped else pieces.add(token)
            finish: Literal["end", "stop", "length", "cancelled"] = "end" if ended else "length"
            found.append(
                Generated(
                    text=text + pieces.end(),
                    tokens=tuple(best.tokens),
                    logprobs=np.array(best.logprobs, np.float32),
                    score=best.score,
                    finish="stop" if pieces.stopped else finish if each.over else "cancelled",
                )
            )
        return found

    def _stopped(self, prompt: list[int], stops: Sequence[str]) -> Callable[[list[int]], bool] | None:
        """Whether an answer to this prompt contains a stop text."""

        def stopped(tokens: list[int]) -> bool:
            pieces = Pieces(self._text.tokenizer, prompt, stops)
            for token in tokens:
                pieces.add(token)
            return pieces.stopped

        return stopped if stops else None


_EMPTY = Generated("", (), np.zeros(0, np.float32), 0.0, "length")


def limit(prompt: int, context: int, options: Options) -> int:
    """Tokens that an answer to a prompt of so many may have.

    Raises:
        ContextError: the checkpoint's settings leave none.
    """
    if options.max_length is not None and prompt >= options.max_length:
        raise ContextError(
            "the prompt leaves no room for an answer in the length that the checkpoint declares",
            found=f"{prompt} tokens",
            expected=f"fewer than {options.max_length} (max_length)",
            action="give max_new_tokens",
        )
    room = context - max(prompt, len(options.negative))
    return min(options.max_new_tokens, room, (options.max_length or context) - prompt)


def _grown(rows: Rows, answers: Sequence[Answer]) -> Iterator[tuple[int, str]]:
    """Pieces of text, none of them empty, with the index of their answer."""
    for chosen in rows.steps([answer.choose for answer in answers]):
        for index, token in chosen.items():
            piece = answers[index].add(token)
            if answers[index].finish:
                rows.finish(index)
            if piece:
                yield index, piece

"""The checkpoint in PyTorch eager: the answers everything is compared with, and the speed it has to beat.

`Reference` is an `engines.Session`, so whatever drives an engine drives the reference too.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np

from compiler.checkpoint.arithmetic import Arithmetic, reordered, widen_arguments
from compiler.checkpoint.decoding import Decoding
from compiler.checkpoint.failing import running
from compiler.checkpoint.layers import Sink, layers_of, modules_inside, watching
from compiler.checkpoint.load import allow_batches, load_model
from compiler.checkpoint.original import open_original
from compiler.checkpoint.quiet import quiet
from compiler.checkpoint.recomputing import Recomputing, next_logits
from compiler.checkpoint.rounded import Rounding, fine_weights, rounded
from compiler.checkpoint.sentence.reference import Pooler
from compiler.errors import CheckpointError, InputError
from compiler.records import CacheShape
from compiler.tasks import TASKS

Feeds = dict[str, np.ndarray]


class Reference:
    """A checkpoint opened with transformers on the CPU, in one precision.

    Args:
        folder: config.json and weights, as the author saved them.
        task: a key of `tasks.TASKS`.
        dtype: what weights and arithmetic are in; "reordered" is float32 with its sums taken in another order, a
            `Rounding` float32 with its products rounded to fewer bits.
        threads: PyTorch's threads, for the whole process; 0 leaves them as they are.
        merged: take an adapter into the weights, as one does for speed; by default PEFT applies it beside them.

    Raises:
        UsageError, CheckpointError: see `open_original`.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        dtype: Arithmetic = "float32",
        threads: int = 0,
        *,
        merged: bool = False,
    ) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self.dtype = dtype
        self._opened = ExitStack()
        self._outputs = TASKS[task].outputs
        precision = "float64" if dtype == "float64" else "float32"
        self._pooler = Pooler(folder, getattr(torch, precision)) if task == "feature-extraction" else None
        self._model = cast("Any", (load_model if merged else open_original)(folder, task, precision))
        self._encoded: Any = None  # the class of what the encoder of an encoder-decoder gives
        if TASKS[task].kind == "encoder":
            allow_batches(self._model)
        elif TASKS[task].kind == "encoder-decoder":
            _make_room(self._model.get_decoder())
        if dtype == "float64":
            if self._model._can_set_experts_implementation():  # the grouped kernels have no float64
                self._model.set_experts_implementation("eager")
            self._opened.callback(widen_arguments(self._model))
        self._parameters = inspect.signature(self._model.forward).parameters
        if dtype == "reordered":
            self._model.forward = reordered(self._model.forward)
        elif isinstance(dtype, Rounding):
            self._model.forward = rounded(self._model.forward, dtype, fine_weights(self._model, dtype.method))
        self._permuted = "perm_mask" in self._parameters and TASKS[task].kind == "decoder"

    @property
    def start_token(self) -> int:
        """The token that an encoder-decoder's answer begins with, by the rules of transformers' `generate`.

        Raises:
            CheckpointError: the checkpoint names none.
        """
        settings = self._model.generation_config
        own = getattr(self._model.config, "decoder_start_token_id", None)
        named = (settings.decoder_start_token_id, own, settings.bos_token_id)
        token = next((token for token in named if token is not None), None)
        if token is None:
            raise CheckpointError(
                "the checkpoint does not say which token an answer begins with",
                expected="decoder_start_token_id or bos_token_id in generation_config.json",
            )
        return int(token[0] if isinstance(token, list) else token)

    def run(self, feeds: Feeds) -> Feeds:
        """One call of the model.

        Args:
            feeds: forward's arguments by name (`input_ids`, `attention_mask`, ... (batch, sequence) int64).

        Returns:
            the task's outputs by name, in the reference's dtype.
        """
        import torch

        with running(self._model):
            outputs = self._model(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        return {name: outputs[name].numpy() for name in self._outputs}

    def vectors(self, outputs: Feeds, feeds: Feeds) -> np.ndarray:
        """One vector a text, (batch, width), as the checkpoint's modules make it of what `run` gave for `feeds`.

        Raises:
            InputError: the task has no token vectors.
        """
        if self._pooler is None:
            raise InputError("this model gives no token vectors", expected="feature-extraction")
        return self._pooler(outputs["last_hidden_state"], feeds["attention_mask"])

    def logits(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        position_ids: np.ndarray,
        keep: np.ndarray | None = None,
    ) -> np.ndarray:
        """A decoder's logits.

        Args:
            input_ids, attention_mask, position_ids: (batch, sequence) int64; models that number their positions
                themselves are not given any.
            keep: (kept,) int64, the columns to answer at; None means every one.

        Returns:
            (batch, kept, vocabulary)
        """
        import torch

        kept = np.arange(input_ids.shape[1]) if keep is None else keep
        if self._permuted:
            with running(self._model):
                steps = [
                    next_logits(self._model, input_ids[:, : end + 1], attention_mask[:, : end + 1]) for end in kept
                ]
            return np.stack(steps, axis=1)
        options = {"position_ids": torch.from_numpy(position_ids)} if "position_ids" in self._parameters else {}
        selects = keep is not None and "logits_to_keep" in self._parameters
        if selects:
            options["logits_to_keep"] = torch.from_numpy(kept)
        with running(self._model):
            outputs = self._model(
                input_ids=torch.from_numpy(input_ids),
                attention_mask=torch.from_numpy(attention_mask),
                use_cache=False,
                **options,
            )
        logits: np.ndarray = outputs.logits.numpy()
        return logits if selects or keep is None else logits[:, kept]

    def encode(self, feeds: Feeds) -> Feeds:
        """An encoder-decoder's reading of texts, (batch, encoder_sequence, hidden), as `decode` takes it."""
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        with running(self._model):
            encoded = self._model.get_encoder()(**tensors)
        self._encoded = type(encoded)
        return {"encoder_hidden_states": encoded[0].numpy()}

    def answers(self, feeds: Feeds, decoder_input_ids: np.ndarray) -> np.ndarray:
        """An encoder-decoder's logits at every position of the answer.

        Args:
            feeds: `input_ids` and `attention_mask` (batch, encoder_sequence) int64.
            decoder_input_ids: (batch, sequence) int64.

        Returns:
            (batch, sequence, vocabulary)
        """
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        tokens = torch.from_numpy(decoder_input_ids)
        if (
            "decoder_attention_mask" in self._parameters
        ):  # some would mask answers with padding's token, unlike generate
            tensors["decoder_attention_mask"] = torch.ones_like(tokens)
        with running(self._model):
            outputs = self._model(**tensors, decoder_input_ids=tokens, use_cache=False)
        return outputs.logits.numpy()  # type: ignore[no-any-return]

    def generate(self, input_ids: np.ndarray, attention_mask: np.ndarray, max_new_tokens: int) -> np.ndarray:
        """Greedy continuation through transformers' own `generate`; it does not stop at an end-of-text token.

        Args:
            input_ids, attention_mask: (batch, sequence) int64, padded on the left.

        Returns:
            (batch, max_new_tokens) int64, the new tokens alone.
        """
        import torch
        from transformers import GenerationConfig

        # Replaced, not overridden: what a call leaves out is filled in from the checkpoint's own settings.
        both = self._model.config.is_encoder_decoder
        start = self.start_token if both else None
        self._model.generation_config = GenerationConfig(do_sample=False, pad_token_id=0, decoder_start_token_id=start)
        options = {"use_mems": False} if self._permuted else {}
        with quiet(), running(self._model):
            tokens = self._model.generate(
                torch.from_numpy(input_ids),
                attention_mask=torch.from_numpy(attention_mask),
                max_new_tokens=max_new_tokens,
                **options,
            )
        return tokens[:, 1 if both else input_ids.shape[1] :].numpy()  # type: ignore[no-any-return]

    def decode(
        self, cache: CacheShape | None, batch: int, capacity: int, constants: Feeds | None = None
    ) -> Decoding | Recomputing:
        """Start a generation with transformers' own cache, which needs no `cache` shape."""
        if self._permuted:
            return Recomputing(self._model, batch, capacity)
        options = {name: _torch(array) for name, array in (constants or {}).items()}
        if "encoder_hidden_states" in options:  # some models take no plain tuple of them (T5Gemma)
            options["encoder_outputs"] = self._encoded(last_hidden_state=options.pop("encoder_hidden_states"))
            options["attention_mask"] = options.pop("encoder_attention_mask")
        elif "logits_to_keep" in self._parameters:
            options["logits_to_keep"] = 1
        return Decoding(self._model, batch, capacity, options)

    def layers(self, inside: str | None = None) -> list[str]:
        """Paths of the modules that cut the model into pieces; of all modules below one of them, if that is given."""
        return list(modules_inside(self._model, inside) if inside else layers_of(self._model))

    def watching(self, modules: Sequence[str], sink: Sink) -> AbstractContextManager[None]:
        """While this is open, `sink` is given the path and the output of each of these modules as it runs."""
        return watching(self._model, modules, sink)

    def close(self) -> None:
        """Give the weights back, and undo what was changed in modules that other models share."""
        self._opened.close()
        self._model = None


def _torch(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)


def _make_room(decoder: Any) -> None:
    """Experts with room for so many tokens of a call take all: `generate` gives a decoder one at a time (Switch)."""
    for module in decoder.modules():
        if hasattr(module, "expert_capacity"):
            module.expert_capacity = sys.maxsize

"""A loaded bundle as the `model` of a transformers pipeline.

Nothing here imports torch or transformers: whoever makes a pipeline has imported both.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from compiler.bundle import Files
from compiler.engines import Session
from compiler.errors import InputError, IntegrityError, UsageError
from compiler.generation import ids as tokens_of
from compiler.reading import parse_json
from compiler.records import Manifest
from compiler.runtime.generation import Generator
from compiler.runtime.options import resolve
from compiler.runtime.pipeline_generation import asked, continued, prompts
from compiler.runtime.starts import Start
from compiler.runtime.text import Text

# Arguments of transformers' models that ask for outputs no bundle has; others, such as `use_cache`, change no answer.
GENERATION = "generation_config.json"
EXTRAS = ("output_hidden_states", "output_attentions", "labels")

T = TypeVar("T")


class PipelineModel:
    """What a pipeline asks of its model."""

    manifest: Manifest
    folder: Path
    _files: Files
    base_model_prefix = "model"
    input_modalities = ("text",)
    output_modalities = ("text",)

    @abstractmethod
    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...

    @abstractmethod
    def _with(self, adapter: str | None) -> Session: ...

    @property
    @abstractmethod
    def _text(self) -> Text: ...

    @property
    @abstractmethod
    def _generator(self) -> Generator: ...

    def __call__(self, input_ids: Any, attention_mask: Any = None, **tensors: Any) -> Any:
        """An encoder's outputs as transformers' model gives them, for use in `transformers.pipeline`.

        Args:
            input_ids, attention_mask, tensors: the model's inputs (batch, sequence), as the tokenizer made them. Those
                that the graph does not have are left out; a missing mask is all ones, missing token types are zeros.

        Returns:
            transformers' `ModelOutput` with torch tensors on the CPU.

        Raises:
            InputError: a tensor has a wrong shape or is not of integers.
            UsageError: the bundle is no encoder, or an output is asked for that it has not.
        """
        if self.manifest.kind != "encoder":
            raise UsageError("this bundle only generates", found=self.manifest.task, action="use generate()")
        for name in EXTRAS:
            if tensors.get(name) is not None and tensors[name] is not False:
                raise UsageError(f"this bundle has no use for {name}", action=f"leave {name} out")
        given = {"input_ids": input_ids, "attention_mask": attention_mask, **tensors}
        ids = _array("input_ids", input_ids)
        defaults = {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        feeds = {
            tensor.name: defaults.get(tensor.name, ids)
            if given.get(tensor.name) is None
            else _array(tensor.name, given[tensor.name])
            for tensor in self.manifest.inputs
        }
        from_numpy = _loaded("torch").from_numpy
        return _loaded("transformers.utils").ModelOutput(
            {name: from_numpy(array) for name, array in self.run(feeds).items()}
        )

    forward = __call__

    def _generate_tokens(self, input_ids: Any, attention_mask: Any = None, **settings: Any) -> Any:
        """See `pipeline_generation`: settings complete `generation_config`, the argument or else the checkpoint's."""
        if self.manifest.kind != "decoder":
            raise UsageError("this bundle takes no tokens to go on from", action="use generate() with a text")
        if input_ids is None:  # an empty prompt
            input_ids = np.array([[] if self._text.bos is None else [self._text.bos]], np.int64)
        ids = _array("input_ids", input_ids)
        mask = np.ones_like(ids) if attention_mask is None else _array("attention_mask", attention_mask)
        given = settings.pop("generation_config", None)
        for config in (given, self.generation_config):
            settings = (config.to_diff_dict() if config else {}) | settings
        generator, session = self._generator, self._with(settings.pop("adapter", None))
        made, declared = asked(settings, ids.shape[1])
        ends = self._text.ends if declared.eos_token_id is None else frozenset(tokens_of(declared.eos_token_id))
        options = resolve(made, declared, ends)
        starts = [Start(prompt, []) for prompt in prompts(ids, mask)]
        answers = [answer.tokens for answer in generator.generated(session, starts, options)]
        fill = settings.get("pad_token_id")
        whole = continued(ids, answers, self._text.pad if fill is None else fill)
        return _loaded("torch").from_numpy(whole)

    @cached_property
    def config(self) -> Any:
        """The checkpoint's configuration (transformers)."""
        kind = type(_loaded("transformers").AutoConfig.for_model(self.manifest.model_type))
        return kind.from_dict(self._settings("config.json"))

    @cached_property
    def generation_config(self) -> Any:
        """The checkpoint's settings of generation (transformers)."""
        kind = _loaded("transformers").GenerationConfig
        return kind.from_dict(self._settings(GENERATION)) if GENERATION in self._files else kind()

    def _settings(self, name: str) -> dict[str, Any]:
        return parse_json(self._files.read(name), dict[str, Any], IntegrityError, str(self.folder / name))

    @property
    def name_or_path(self) -> str:
        return str(self.folder)

    @property
    def device(self) -> Any:
        """Where inputs are read and answers given: torch's CPU."""
        return _loaded("torch").device("cpu")

    @property
    def dtype(self) -> Any:
        return _loaded("torch").float32

    def to(self, *_: Any, **__: Any) -> Any:
        """The model itself: a bundle runs where its profile says."""
        return self

    def eval(self) -> Any:
        """The model itself: a bundle does not train."""
        return self

    def can_generate(self) -> bool:
        return self.manifest.kind != "encoder"


def named(kind: type[T], architecture: str) -> type[T]:
    """`kind` under the name of the architecture, by which a pipeline tells whether a model fits its task."""
    return type(architecture, (kind,), {"__doc__": kind.__doc__}) if architecture.isidentifier() else kind


def _loaded(library: str) -> Any:
    if (module := sys.modules.get(library)) is None:
        raise UsageError(f"this is for use with {library}, which is not loaded", action="use run() with numpy arrays")
    return module


def _array(name: str, tensor: Any) -> np.ndarray:
    """Torch's tensor, or a numpy array, as int64."""
    array = tensor if isinstance(tensor, np.ndarray) else tensor.detach().cpu().numpy()
    if array.dtype.kind not in "iub":
        raise InputError(f'input "{name}": wrong dtype', found=str(array.dtype), expected="integers")
    return np.ascontiguousarray(array, dtype=np.int64)

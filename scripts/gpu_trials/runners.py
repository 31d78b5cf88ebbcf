"""What is measured: the engine of a bundle, with and without CUDA graphs, and PyTorch, eager and compiled.

Each takes its input from the host and gives its answer, float32 numbers or tokens, to the host.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from compiler.engines import open_bundle, serving
from compiler.measure.protocol import Spec
from gpu_trials.asked import Asked

ENGINE, GRAPHS, EAGER, COMPILED = "engine", "engine with CUDA graphs", "PyTorch eager", "torch.compile"


class Runner(Protocol):
    name: str
    version: str

    def encode(self, ids: np.ndarray) -> np.ndarray:
        """Token vectors (batch, sequence, hidden) float32 of texts (batch, sequence) without padding."""
        ...

    def generate(self, ids: np.ndarray, new: int) -> tuple[np.ndarray, list[float]]:
        """The `new` likeliest tokens (batch, new) int64 after each prompt, and the milliseconds to each column."""
        ...


class EngineRunner:
    """A bundle as it is opened here."""

    def __init__(self, spec: Spec, *, cuda_graph: bool) -> None:
        self._manifest = spec.manifest
        options = msgspec.structs.replace(spec.manifest.options, threads=spec.threads, cuda_graph=cuda_graph)
        serves = serving(spec.manifest, options)
        self.name, self.version = serves.engine, serves.version
        self._session = open_bundle(Path(spec.folder), spec.manifest, options)

    def encode(self, ids: np.ndarray) -> np.ndarray:
        feeds = {tensor.name: np.zeros_like(ids) for tensor in self._manifest.inputs}
        feeds["input_ids"] = ids
        if "attention_mask" in feeds:
            feeds["attention_mask"] = np.ones_like(ids)
        return self._session.run(feeds)[self._manifest.outputs[0].name]

    def generate(self, ids: np.ndarray, new: int) -> tuple[np.ndarray, list[float]]:
        cache = self._manifest.cache
        if cache is None:
            raise ValueError("this bundle does not generate")
        rows, length = ids.shape
        decoding = self._session.decode(cache, rows, length + new)
        tokens, samples = ids, []
        columns: list[np.ndarray] = []
        before = time.perf_counter()
        for _ in range(new):
            tokens = decoding.step(tokens, np.full(rows, length, np.int64)).argmax(axis=-1)[:, None]
            after = time.perf_counter()
            samples.append(1000 * (after - before))
            columns.append(tokens)
            before, length = after, length + 1
        return np.concatenate(columns, axis=1), samples


class TorchRunner:
    """A checkpoint in PyTorch: float16 on a GPU, float32 on the CPU."""

    def __init__(self, spec: Spec, asked: Asked, *, compiled: bool) -> None:
        import torch
        from transformers import AutoModel, AutoModelForCausalLM

        self._torch = torch
        self._compiled = compiled
        self._device = torch.device(asked.device)
        self.name = COMPILED if compiled else EAGER
        self.version = str(torch.__version__)
        if asked.device == "cpu":
            torch.set_num_threads(spec.threads)
        dtype = torch.float16 if asked.device == "cuda" else torch.float32
        auto = AutoModel if spec.manifest.kind == "encoder" else AutoModelForCausalLM
        self._model: Any = auto.from_pretrained(spec.folder, dtype=dtype).to(self._device).eval()
        self._call: Any = self._model
        if compiled:  # a tiny model is not worth generating code for
            how = {"backend": "eager"} if asked.tiny else {"mode": "reduce-overhead", "dynamic": False}
            self._call = torch.compile(self._model, **how)

    def encode(self, ids: np.ndarray) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            tokens = torch.from_numpy(ids).to(self._device)
            states = self._call(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
            vectors: np.ndarray = states.float().cpu().numpy()
        return vectors

    def generate(self, ids: np.ndarray, new: int) -> tuple[np.ndarray, list[float]]:
        torch = self._torch
        cache = self._cache(ids.shape[1] + new)
        columns: list[np.ndarray] = []
        samples: list[float] = []
        with torch.inference_mode():
            before = time.perf_counter()
            tokens = torch.from_numpy(ids).to(self._device)
            for step in range(new):
                call = self._call if step else self._model  # a prompt of each length is not worth compiling for
                logits = call(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                tokens = logits[:, -1].argmax(dim=-1, keepdim=True)
                columns.append(tokens.cpu().numpy())
                after = time.perf_counter()
                samples.append(1000 * (after - before))
                before = after
        return np.concatenate(columns, axis=1), samples

    def _cache(self, capacity: int) -> Any:
        """One that grows, or of a fixed size, which compiled code needs."""
        from transformers import DynamicCache, StaticCache

        if self._compiled:
            return StaticCache(config=self._model.config, max_cache_len=capacity)
        return DynamicCache(config=self._model.config)


def open_runner(spec: Spec, asked: Asked, runner: str) -> Runner:
    """The runner of this name."""
    if runner in (EAGER, COMPILED):
        return TorchRunner(spec, asked, compiled=runner == COMPILED)
    return EngineRunner(spec, cuda_graph=runner == GRAPHS)

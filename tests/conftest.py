"""Fixtures that the whole-program tests share: the command in a process of its own, and tiny random checkpoints."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import families, understanding

ROOT = Path(__file__).parents[1]
CONTEXT = 64

Compile = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker of pytest-xdist cores of its own, before PyTorch counts them for its threads.

    Threads of several workers on one core wait for each other: a tiny model's pass took 40 times the processor's time.
    """
    worker = getattr(config, "workerinput", None)
    if worker and hasattr(os, "sched_setaffinity"):
        cores, index = sorted(os.sched_getaffinity(0)), int(worker["workerid"].removeprefix("gw"))
        os.sched_setaffinity(0, cores[index :: worker["workercount"]] or {cores[index % len(cores)]})


def pytest_collection_finish() -> None:
    """List torch.onnx's operators once: for every export it parses their sources, a tenth of a tiny build."""
    if "torch" in sys.modules:
        from torch.onnx._internal.exporter._registration import onnxscript_apis

        @functools.cache
        def once() -> Any:
            return type(onnxscript_apis).__getattr__(onnxscript_apis, "get_torchlib_ops")()

        onnxscript_apis.get_torchlib_ops = once


def command(*words: object) -> list[str]:
    """The words that start `compile WORDS` with this interpreter."""
    start = "import sys; sys.argv[0] = 'compile'; from compiler.cli import main; main()"
    return [sys.executable, "-c", start, *map(str, words)]


def environment(cache: Path) -> dict[str, str]:
    """This process' environment with a cache of its own and no hub."""
    return {**os.environ, "TRANSFORMER_COMPILER_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is built where no test sets another cache is built once in a run, whichever worker asks for it first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that all commands of one worker share, where tests look at what is in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def compile_(cache: Path) -> Compile:
    """Run `compile WORDS` to its end. Keywords go to `subprocess.run`."""

    def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"env": environment(cache), "input": "", **options}
        return subprocess.run(command(*words), capture_output=True, text=True, check=False, **options)

    return run


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], understanding.Case]:
    """A tiny checkpoint and its bundle for an encoder's task, made when first asked for."""
    folder = tmp_path_factory.mktemp("cases")
    return functools.cache(lambda task: understanding.case(folder / task, task))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two layers."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("checkpoints") / "encoder"
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = BertConfig(**size, vocab_size=_tokenizer(folder, first="[CLS]"), max_position_embeddings=CONTEXT)
    _save(BertModel, config, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with grouped heads and tied embeddings, whose tokenizer begins with no token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("checkpoints") / "decoder"
    size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = LlamaConfig(
        **size,
        num_key_value_heads=2,
        vocab_size=_tokenizer(folder),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    _save(LlamaForCausalLM, config, folder)
    return folder


@pytest.fixture(scope="session")
def decoder_bundle(tiny_decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama's."""
    return understanding.built(tiny_decoder, "text-generation", tmp_path_factory.mktemp("llama") / "bundle")


@pytest.fixture(scope="session")
def translator_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random T5's."""
    folder = tmp_path_factory.mktemp("translator")
    saved = families.checkpoint(families.family("t5", "text2text-generation"), folder / "checkpoint")
    return understanding.built(saved, "text2text-generation", folder / "bundle")


def _save(architecture: Any, config: Any, folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    architecture(config).eval().save_pretrained(folder)


def _tokenizer(folder: Path, first: str | None = None) -> int:
    """Write a byte-level tokenizer into `folder`, and give its vocabulary's size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["</s>", "<pad>", *([first] if first else [])]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the cat sat on the mat"] * 8, trainer)
    if first:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, tokenizer.token_to_id(first))]
        )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")
    wrapped.save_pretrained(folder)
    return tokenizer.get_vocab_size()

"""Once a bundle is loaded, nothing that happens to its files changes an answer: it stays, or is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import compiler
from compiler import bundle, pipeline
from compiler.errors import IntegrityError
from compiler.runtime import Model
from tests import peft_adapters

PROMPT = "an old sailor told"


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A decoder with an adapter to choose."""
    here = tmp_path_factory.mktemp("adapted")
    base = peft_adapters.llama(here / "llama")
    lora = peft_adapters.adapter(base, here / "lora", peft_adapters.lora("llama"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))
        return pipeline.build(
            str(base),
            adapters=[f"a={lora}"],
            profile="cpu-x86-avx2",
            precision="float32",
            out=here / "out",
            bench=False,
        )


def answers(model: Model) -> list[list[int]]:
    """Tokens of the base and of the adapter."""
    return [model.generate(PROMPT, max_new_tokens=6, details=True, adapter=adapter).tokens for adapter in (None, "a")]


def overwrite(path: Path) -> None:
    """In place, every byte, as `cp` does."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes(byte ^ 0x11 for byte in content))


def cut(path: Path) -> None:
    os.truncate(path, 0)


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


@pytest.mark.parametrize("exchange", [overwrite, cut, replace, Path.unlink])
@pytest.mark.parametrize("used", [False, True], ids=["before the first use", "after it"])
def test_files_exchanged_after_loading(
    adapted: Path, tmp_path: Path, exchange: Callable[[Path], None], used: bool
) -> None:
    with compiler.load(adapted) as model:
        right = answers(model)
    assert right[0] != right[1]
    copy = Path(shutil.copytree(adapted, tmp_path / "copy"))
    with compiler.load(copy) as model:
        if used:
            answers(model)
        for path in [path for path in copy.rglob("*") if path.is_file()]:
            exchange(path)
        if used:
            assert answers(model) == right
        else:
            with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
                answers(model)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json", "adapters/a.npz"])
def test_what_is_read_at_first_use_is_compared_then(adapted: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(adapted, tmp_path / "copy"))
    assert (copy / name).is_file()
    with compiler.load(copy) as model:
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        with pytest.raises(IntegrityError, match=name):
            answers(model)


def test_the_certificate_too(adapted: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(adapted, tmp_path / "copy"))
    with compiler.load(adapted) as model:
        right = model.certificate
    with compiler.load(copy) as model:
        overwrite(copy / bundle.CERTIFICATE)
        assert model.certificate == right


def test_files_exchanged_while_loading(adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(adapted, tmp_path / "copy"))
    opened = compiler.runtime.model.open_bundle

    def open_another(folder: Path, *rest: object) -> object:
        replace(folder / "config.json")
        return opened(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(compiler.runtime.model, "open_bundle", open_another)
    with pytest.raises(IntegrityError, match=r"(?s)changed while it was opened.*config\.json"):
        compiler.load(copy)


def test_a_digest_from_elsewhere(adapted: Path, tmp_path: Path) -> None:
    digest = bundle.digest_of(adapted)
    with compiler.load(adapted, digest=digest) as model:
        assert len(answers(model)) == 2
    with pytest.raises(IntegrityError, match="another bundle"):
        compiler.load(adapted, digest="sha256:" + "0" * 64)

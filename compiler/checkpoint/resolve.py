"""Find a checkpoint's files and vet them before anything large is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from compiler.cache import answer, intact, key
from compiler.checkpoint import sentence
from compiler.checkpoint.accounted import unread
from compiler.checkpoint.declared import configuration, listing
from compiler.checkpoint.digests import content, require_unchanged
from compiler.checkpoint.hub import PICKLES, hub, located, require_absent
from compiler.checkpoint.links import require_whole
from compiler.checkpoint.sane import require_plausible
from compiler.checkpoint.weights import SAFETENSORS, check_safetensors, require_floats, weight_files
from compiler.errors import CheckpointError, UsageError, did_you_mean
from compiler.folders import look
from compiler.records import Source
from compiler.tasks import TASKS, canonical

if TYPE_CHECKING:
    from compiler.checkpoint.adapter import Adapter

SETFIT = ("model_head.pkl", "model_head.joblib", "config_setfit.json")


class Read(NamedTuple):
    """What was read, and the digest that it had."""

    place: Path
    digest: str


@dataclass(frozen=True)
class Checkpoint:
    """A vetted checkpoint. `folder` has config.json and safetensors weights, whatever the source looked like.

    `location` is what the user named. `adapters` are those that stay apart; one that is compiled in is part of
    `folder`, and `compiled_in` is what the user named it by. `original` is the source itself where `folder` was
    converted from it: a GGUF file, or a folder with pickled weights. `read` is what the user named, without adapters.
    """

    source: Source
    folder: Path
    task: str
    config: dict[str, Any]
    location: str
    adapters: tuple[Adapter, ...] = ()
    compiled_in: str = ""
    original: Path | None = None
    read: Read | None = None

    def require_unchanged(self) -> None:
        """Raises CheckpointError where the checkpoint is another one than when it was found; adapters are copies."""
        if self.read:
            require_unchanged(self.read.place, self.read.digest, self.location)

    @property
    def reference(self) -> Path:
        """What PyTorch's answers come from: the source as its author saved it, not what was converted from it."""
        return self.original or self.folder

    @property
    def architecture(self) -> str:
        return str((self.config.get("architectures") or [self.config["model_type"]])[0])


def resolve(
    model: str, *, task: str | None = None, revision: str | None = None, allow_pickle: bool = False, cache: Path
) -> Checkpoint:
    """Turn what the user named into a vetted checkpoint.

    Args:
        model: a folder, a `.gguf` file, or a hub id.
        task: one of `tasks.TASKS` or a synonym Optimum knows; None infers it from the architecture.
        revision: branch, tag or commit; for hub ids only.
        allow_pickle: accept pickle weights, which can run code when they are read.
        cache: where a GGUF or pickle checkpoint is written as safetensors, once.

    Raises:
        CheckpointError: it cannot be found, is damaged, has no tokenizer or an unknown architecture.
        UsageError: the task is unknown, or the model does not have it.
    """
    wanted = canonical(task) if task else None
    path = located(model)
    require_whole(path)
    if revision and path.exists():  # asked before a file is converted
        found = "a local folder" if path.is_dir() else "a local file"
        raise UsageError("--revision", found=found, expected="a hub id", action="drop --revision")
    if path.is_file():
        if path.suffix != ".gguf":
            raise CheckpointError(
                f"{path}: not a checkpoint",
                found=f"a {path.suffix or 'suffixless'} file",
                expected="a folder, a .gguf file or a hub id",
                action="name the folder that holds config.json and model.safetensors",
            )
        source, folder = _gguf(path, model, cache)
    elif path.is_dir():
        folder = path.resolve()
        source = Source(kind="folder", name=folder.name, digest=content(folder))
    else:
        folder, commit = hub(model, revision, allow_pickle=allow_pickle)
        source = Source(kind="hub", name=model, digest=content(folder), revision=commit)

    place = path if source.kind == "gguf" else folder
    still = partial(require_unchanged, place, source.digest, model)
    config = configuration(folder, model)
    _require_tokenizer(folder, model)
    original = place if source.kind == "gguf" else None
    if not any((folder / name).exists() for name in (SAFETENSORS, f"{SAFETENSORS}.index.json")):
        out = cache / "checkpoint" / key(source.digest, "pickle", code=[__name__])
        original, folder = folder, _from_pickle(folder, model, out, allow_pickle=allow_pickle, still=still)
    weights = weight_files(folder, model)
    for path in weights:
        check_safetensors(path)
    require_floats(weights, model)
    require_plausible(config, weights, model)

    # What needs transformers, seconds to import, is asked once per checkpoint.
    made_by = key(source.digest, wanted, code=[__name__])

    def ask() -> str:
        _require_known(config, model)
        unread(config, model)
        return wanted or _infer_task(folder, config, model)

    found = answer(cache / "checkpoint" / f"{made_by}.txt", ask)
    if found not in TASKS:
        raise UsageError(
            f'{model}: {config["architectures"][0]} is made for "{found}", which cannot be compiled yet',
            expected=", ".join(TASKS),
            action="choose one with --task if the model has it",
        )
    if found == "feature-extraction":
        if source.revision and not (place / sentence.LIST).exists():
            require_absent(model, source.revision, sentence.LIST, cache)
        vetted = sentence.unpickled(folder, source.digest, allow_pickle, cache, still)
        original, folder = original or (folder if vetted != folder else None), vetted
        sentence.pooling(folder)  # refused now if it has to be, not after the export
    elif found == "text-classification":
        sentence.activation(folder, config)
    read = Read(place, source.digest)
    return Checkpoint(source, folder, found, config, location=model, original=original, read=read)


def _gguf(path: Path, model: str, cache: Path) -> tuple[Source, Path]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise CheckpointError(f"{path}: not a GGUF file", found=f"it starts with {magic!r}", expected="b'GGUF'")
    from compiler.checkpoint.gguf import materialize

    source = Source(kind="gguf", name=path.name, digest=content(path))
    made_by = key(source.digest, "gguf", code=[__name__])
    still = partial(require_unchanged, path, source.digest, model)
    return source, materialize(path, cache / "checkpoint" / made_by, still)


def _require_known(config: dict[str, Any], model: str) -> None:
    from transformers import CONFIG_MAPPING

    if config["model_type"] not in CONFIG_MAPPING:
        remote = " (it brings code of its own, which is never run)" if config.get("auto_map") else ""
        raise CheckpointError(
            f'{model}: architecture "{config["model_type"]}" is unknown{remote}',
            expected="a model type that the installed transformers knows",
            action=did_you_mean(str(config["model_type"]), CONFIG_MAPPING.keys()) or "update transformers",
        )


def _require_tokenizer(folder: Path, model: str) -> None:
    if not any(
        (folder / name).exists()
        for name in (
            "tokenizer.json",
            "vocab.txt",
            "vocab.json",
            "spiece.model",
            "tokenizer.model",
            "sentencepiece.bpe.model",
        )
    ):
        raise CheckpointError(
            f"{model}: no tokenizer",
            found=listing(folder),
            expected="tokenizer.json (or vocab.txt, vocab.json with merges.txt, a sentencepiece model)",
            action="save the tokenizer into the folder with save_pretrained",
        )


def _from_pickle(folder: Path, model: str, out: Path, *, allow_pickle: bool, still: Callable[[], None]) -> Path:
    if intact(out):
        return out
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if not pickles:
        seen = look(folder)
        raise CheckpointError(
            f"{model}: no weights",
            found=seen.words,
            expected="model.safetensors (or shards with an index)",
            action=seen.action if seen.kind else "download or save the weights into the folder",
        )
    if not allow_pickle:
        raise CheckpointError(
            f"{model}: only pickle weights",
            found=", ".join(pickles),
            expected="safetensors; reading a pickle can run code hidden in it",
            action="convert it with save_pretrained, or pass --allow-pickle if you trust its author",
        )
    from compiler.checkpoint.pickled import convert

    return convert(folder, model, out, still)


def _infer_task(folder: Path, config: dict[str, Any], model: str) -> str:
    """The task of the class that the checkpoint was saved from; the name may be one that is not in `TASKS`."""
    if head := next((name for name in SETFIT if (folder / name).exists()), None):
        raise CheckpointError(
            f"{model}: a SetFit classifier is not supported",
            found=f"{head}: its head is no part of the network",
            expected="a classifier whose head is in its weights",
            action="--task feature-extraction compiles its sentence encoder, without the head",
        )
    if declared := sentence.task_of(folder):
        return declared
    from compiler.checkpoint.heads import trained_for

    return trained_for(folder, config, model)

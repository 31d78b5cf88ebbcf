"""Find a checkpoint's files and vet them before anything large is loaded."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.cache import key
from compiler.checkpoint.weights import check_safetensors, require_shards
from compiler.errors import CheckpointError, UsageError, did_you_mean
from compiler.records import Source
from compiler.storage import write_whole
from compiler.tasks import TASKS

if TYPE_CHECKING:
    from compiler.checkpoint.adapter import Adapter

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-][\w.-]*")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", "*/config.json")

PIPELINES = {
    "sentiment-analysis": "text-classification",
    "text-ranking": "text-classification",
    "ner": "token-classification",
}


@dataclass(frozen=True)
class Checkpoint:
    """A vetted checkpoint. `folder` has config.json and safetensors weights, whatever the source looked like.

    `location` is what the user named. `adapters` are those that stay apart; one that is compiled in is part of
    `folder`, and `compiled_in` is what the user named it by.
    """

    source: Source
    folder: Path
    task: str
    config: dict[str, Any]
    location: str
    adapters: tuple[Adapter, ...] = ()
    compiled_in: str = ""

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
    wanted = canonical_task(task) if task else None
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise CheckpointError(
                f"{path}: not a checkpoint",
                found=f"a {path.suffix or 'suffixless'} file",
                expected="a folder, a .gguf file or a hub id",
                action="name the folder that holds config.json and model.safetensors",
            )
        source, folder = _gguf(path, cache)
    elif path.is_dir():
        folder = path.resolve()
        source = Source(kind="folder", name=folder.name, digest=_digest(folder))
    else:
        folder, commit = hub(model, revision, allow_pickle=allow_pickle)
        source = Source(kind="hub", name=model, digest=_digest(folder), revision=commit)
    if revision and source.kind != "hub":
        raise UsageError("--revision", found=f"a local {source.kind}", expected="a hub id", action="drop --revision")

    config = _config(folder, model)
    _require_tokenizer(folder, model)
    if not list(folder.glob("*.safetensors")):
        folder = _from_pickle(folder, model, source, allow_pickle, cache)
    for weights in sorted(folder.glob("*.safetensors")):
        check_safetensors(weights)
    require_shards(folder, model)

    # What needs transformers, seconds to import, is asked once per checkpoint.
    made_by = key(source.digest, wanted, code=("checkpoint", "tasks.py"), packages=("transformers", "optimum"))
    answer = cache / "checkpoint" / f"{made_by}.txt"
    if answer.exists():
        found = answer.read_text()
    else:
        _require_known(config, model)
        found = wanted or _infer_task(folder, config)
        write_whole(answer, found.encode())
    if found not in TASKS:
        raise UsageError(
            f'{model}: {config["architectures"][0]} is made for "{found}", which cannot be compiled yet',
            expected=", ".join(TASKS),
            action="choose one with --task if the model has it",
        )
    return Checkpoint(source=source, folder=folder, task=found, config=config, location=model)


def canonical_task(task: str) -> str:
    """Our name for a task, for a pipeline of transformers or for one of Optimum's synonyms. Raises UsageError."""
    name = task.removesuffix("-with-past")  # Optimum's for a graph with a cache, which every decoder here has
    if name in TASKS:
        return name
    from optimum.exporters.tasks import TasksManager

    name = PIPELINES.get(name) or str(TasksManager.map_from_synonym(name))
    if name not in TASKS:
        raise UsageError(
            f'task "{task}" is unknown', expected=", ".join(TASKS), action=did_you_mean(task, TASKS) or "choose one"
        )
    return name


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {
            ".safetensors",
            ".json",
            ".txt",
            ".model",
            ".jinja",
            ".bin",
            ".pt",
            ".pth",
        }:
            total.update(str(path.relative_to(folder)).encode() + b"\0" + _file_digest(path).encode())
    return total.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gguf(path: Path, cache: Path) -> tuple[Source, Path]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise CheckpointError(f"{path}: not a GGUF file", found=f"it starts with {magic!r}", expected="b'GGUF'")
    from compiler.checkpoint.gguf import materialize

    digest = _file_digest(path)
    return Source(kind="gguf", name=path.name, digest=digest), materialize(path, cache / "checkpoint" / digest[:32])


def hub(model: str, revision: str | None, *, allow_pickle: bool) -> tuple[Path, str]:
    """The snapshot of a hub id and its commit. Raises CheckpointError."""
    if not HUB_ID.fullmatch(model):
        raise CheckpointError(
            f"{model}: no such file or folder", expected="a folder, a .gguf file or a hub id", action="check the path"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*WANTED, *(PICKLES if allow_pickle else ())]
    try:
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f'"{model}" is neither a file or folder here nor in the local hub cache',
            found="no copy in the cache, and the hub was not reached (offline mode, or no network)",
            action="check the spelling of the path, or run once with network and without HF_HUB_OFFLINE",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f'the hub did not give "{model}"' + (f" at revision {revision}" if revision else ""),
            found=str(error).strip().splitlines()[0],
            action="check the name, the revision and your access token (HF_TOKEN)",
        ) from error
    return folder, folder.name


def _config(folder: Path, model: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(
            f"{model}: no config.json",
            found=_listing(folder),
            expected="a Hugging Face model folder: config.json, model.safetensors, tokenizer.json",
            action="save it with save_pretrained of transformers",
        )
    try:
        config = json.loads(path.read_bytes())
        config["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a model configuration", found=repr(error)) from error
    return dict(config)


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
            found=_listing(folder),
            expected="tokenizer.json (or vocab.txt, vocab.json with merges.txt, a sentencepiece model)",
            action="save the tokenizer into the folder with save_pretrained",
        )


def _from_pickle(folder: Path, model: str, source: Source, allow_pickle: bool, cache: Path) -> Path:
    out = cache / "checkpoint" / source.digest[:32]
    if (out / "config.json").exists():
        return out
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if not pickles:
        raise CheckpointError(
            f"{model}: no weights",
            found=_listing(folder),
            expected="model.safetensors (or shards with an index)",
            action="download or save the weights into the folder",
        )
    if not allow_pickle:
        raise CheckpointError(
            f"{model}: only pickle weights",
            found=", ".join(pickles),
            expected="safetensors; reading a pickle can run code hidden in it",
            action="convert it with save_pretrained, or pass --allow-pickle if you trust its author",
        )
    from compiler.checkpoint.load import resave

    return resave(folder, out)


def _infer_task(folder: Path, config: dict[str, Any]) -> str:
    """The task of the class that the checkpoint was saved from; the name may be one that is not in `TASKS`."""
    if (folder / "modules.json").exists():
        return "feature-extraction"
    names = config.get("architectures") or []
    if not names:
        return "feature-extraction"
    from compiler.checkpoint.heads import task_of

    if found := task_of(folder, names[0]):
        return found
    import transformers
    from optimum.exporters.tasks import TasksManager

    if (known := getattr(transformers, names[0], None)) is None:
        return "feature-extraction"
    try:
        return str(TasksManager.infer_task_from_model(known))
    except (ValueError, KeyError):
        return "feature-extraction"


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "an empty folder"

"""What is not on this machine: a hub id and its snapshot, or a path where nothing is."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from compiler.cache import answer, key
from compiler.errors import CheckpointError, StorageError, did_you_mean

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-][\w.-]*")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", "*/config.json")
ABSENT = "absent"
UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT})


def located(name: str) -> Path:
    """What `name` is as a path, whether or not anything is there.

    Raises:
        CheckpointError: the system cannot look there.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # the latter for the home of an unknown user
        raise CheckpointError(
            f"{name:.200}: cannot be looked at",
            found=getattr(error, "strerror", None) or str(error),
            expected="a path that exists, or a hub id",
            action="check the path and its permissions",
        ) from error
    return path


def hub(model: str, revision: str | None, *, allow_pickle: bool) -> tuple[Path, str]:
    """The snapshot of a hub id and its commit.

    Raises:
        CheckpointError: it is a path where nothing is, or the hub does not give it.
        StorageError: the hub's own cache cannot be written.
    """
    if _is_path(model) or not HUB_ID.fullmatch(model):
        raise _nothing_there(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*WANTED, *(PICKLES if allow_pickle else ())]
    try:
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f'"{model}" is neither a file or folder here nor in the local hub cache',
            found="no copy in the cache, and the hub was not reached (offline mode, or no network)",
            action=_near(model) or "check the path's spelling, or run once with network and without HF_HUB_OFFLINE",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise _unwritable(error) from error
        raise CheckpointError(
            f'"{model}" is no file or folder here, and the hub did not give it'
            + (f" at revision {revision}" if revision else ""),
            found=str(error).strip().splitlines()[0],
            action=_near(model) or "check the name, the revision and your access token (HF_TOKEN)",
        ) from error
    return folder, folder.name


def require_absent(model: str, commit: str, name: str, cache: Path) -> None:
    """Refuse a snapshot without a file that it may only lack because nobody downloaded it.

    The hub is asked once, and what it said is kept: offline, a snapshot holds what other programs wanted of it.

    Args:
        model: a hub id, and its `commit`.
        name: of a file that is not in the snapshot.
        cache: where the answer is kept.

    Raises:
        CheckpointError: there is such a file, or nobody knows.
    """
    from huggingface_hub import _CACHED_NO_EXIST, HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    def ask() -> str:
        if try_to_load_from_cache(model, name, revision=commit) is _CACHED_NO_EXIST:
            return ABSENT
        try:
            there = HfApi().file_exists(model, name, revision=commit)
        except (HfHubHTTPError, OSError, RuntimeError) as error:  # offline mode, no network
            raise CheckpointError(
                f'"{model}": nobody knows whether a {name} belongs to it',
                found=f"none in the hub's cache, and the hub was not reached ({type(error).__name__})",
                expected="a whole copy: without that file its answers may be others",
                action="build once with network; or, where the copy is whole, name its folder in place of the hub id",
            ) from error
        if there:
            raise CheckpointError(
                f'"{model}": only a part of it is in the hub\'s cache',
                found=f"no {name}, which the hub has",
                action="build again with network",
            )
        return ABSENT

    answer(cache / "checkpoint" / f"{key(model, commit, name, code=[])}.txt", ask)


def _is_path(model: str) -> bool:
    """Whether nobody would write a hub id so."""
    return model.startswith(("/", "./", "../", "~")) or model.endswith(("/", ".gguf"))


def _nothing_there(model: str) -> CheckpointError:
    """The error for a path, with how far it leads."""
    path = Path(model).expanduser()
    missing = next(each for each in (path, *path.parents) if os.path.lexists(each.parent))
    parent = missing.parent
    return CheckpointError(
        f"{model}: no such file or folder",
        found=f"{parent} is a file" if not parent.is_dir() else f"nothing called {missing.name} in {parent.absolute()}",
        expected="a path that exists, or a hub id",
        action=_near(model) or "check the path",
    )


def _near(model: str) -> str:
    """A name like this one in the folder where it would have to be."""
    path = Path(model).expanduser()
    try:
        near = did_you_mean(path.name, [each.name for each in path.parent.iterdir()])
    except OSError:
        return ""
    return near and near.replace('"', f'"{path.parent}/' if path.parent != Path() else '"', 1)


def _unwritable(error: OSError) -> StorageError:
    from huggingface_hub.constants import HF_HUB_CACHE

    return StorageError(
        f"{error.filename or HF_HUB_CACHE}: the hub's cache cannot be written",
        found=error.strerror or str(error),
        action="set HF_HOME to a folder that you can write and that has room",
    )

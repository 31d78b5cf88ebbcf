"""What is not on this machine: a hub id and its snapshot, or a path where nothing is."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from compiler.errors import CheckpointError, StorageError, did_you_mean

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-][\w.-]*")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", "*/config.json")
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

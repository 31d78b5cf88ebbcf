"""What a folder holds: the size and SHA-256 of every file, and what differs from a list of them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from compiler.errors import IntegrityError
from compiler.records import FileEntry
from compiler.storage import digest

_ACTION = "copy the bundle again, or rebuild it"


def is_within(name: str) -> bool:
    """Whether a name leads to a place below the folder it is relative to, and is spelled as `take` would."""
    path = PurePosixPath(name)
    return bool(
        path.parts
        and not path.is_absolute()
        and ".." not in path.parts
        and "\\" not in name
        and "\0" not in name
        and str(path) == name
    )


def take(folder: Path, *, leave_out: frozenset[str] = frozenset(), links: bool = False) -> dict[str, FileEntry]:
    """Every file below `folder` by its relative name with "/", sorted.

    Args:
        leave_out: names that do not count.
        links: let symbolic links be entries of their own, by what they point to; they are never followed.

    Raises:
        IntegrityError: there is a link or a special file.
        StorageError: a file cannot be read.
    """
    return {name: _entry(folder / name) for name in sorted(names(folder, leave_out=leave_out, links=links))}


def names(folder: Path, *, leave_out: frozenset[str] = frozenset(), links: bool = False) -> Iterator[str]:
    """The names alone. Arguments and errors as in `take`."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not (stat.S_ISREG(mode) or (links and stat.S_ISLNK(mode))):
                raise IntegrityError(
                    f"{path}: not a plain file",
                    found="a symbolic link" if stat.S_ISLNK(mode) else "a special file",
                    expected="files and folders only",
                    action="replace it with what it stands for, or rebuild the bundle",
                )
            relative = path.relative_to(folder).as_posix()
            if relative not in leave_out:
                yield relative


def differences(
    folder: Path, listed: Mapping[str, FileEntry], *, leave_out: frozenset[str] = frozenset(), links: bool = False
) -> str:
    """What differs, for a person: "changed: a; missing: b; added: c"; "" where nothing does. The rest as in `take`."""
    present = set(names(folder, leave_out=leave_out, links=links))
    found = {
        "changed": [name for name in sorted(present & set(listed)) if not _same(folder / name, listed[name])],
        "missing": sorted(set(listed) - present),
        "added": sorted(present - set(listed)),
    }
    return "; ".join(f"{what}: {', '.join(each)}" for what, each in found.items() if each)


def read(path: Path, entry: FileEntry) -> bytes:
    """A file's content, read once: what is returned is what was compared.

    Raises:
        IntegrityError: it is not the file of this entry, no plain file, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            plain = stat.S_ISREG(found.st_mode) and found.st_size == entry.size
            content = file.read(entry.size + 1) if plain else b""
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise IntegrityError(f"{path}: cannot be read", found=reason, action=_ACTION) from error
    if len(content) != entry.size or (sha256 := hashlib.sha256(content).hexdigest()) != entry.sha256:
        raise IntegrityError(
            f"{path}: not what was built",
            found=f"sha256 {sha256}" if len(content) == entry.size else "another size, or no plain file",
            expected=f"{entry.size} bytes, sha256 {entry.sha256}",
            action=_ACTION,
        )
    return content


def copy(source: Path, target: Path, entry: FileEntry) -> None:
    """Copy a file, comparing the bytes that are written; folders above `target` are made.

    Raises:
        IntegrityError: `source` is not the file of this entry.
        OSError: `target` cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    total = hashlib.sha256()
    with source.open("rb") as read_from, target.open("xb") as write_to:
        while chunk := read_from.read(1 << 20):
            total.update(chunk)
            write_to.write(chunk)
    if total.hexdigest() != entry.sha256:
        raise IntegrityError(
            f"{source}: changed while it was in use",
            found=f"sha256 {total.hexdigest()}",
            expected=f"sha256 {entry.sha256}",
            action="build again",
        )


Stamps = dict[str, tuple[int, ...]]


def stamps(folder: Path) -> Stamps:
    """What shows that a file was exchanged or written to: its number, size and times, for every file.

    Raises:
        IntegrityError: the folder holds a link or a special file.
    """
    found: Stamps = {}
    for name in names(folder):
        status = (folder / name).lstat()
        found[name] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def require_untouched(folder: Path, before: Stamps) -> None:
    """For what opens files by their names: nothing changed since `stamps`, which were taken before `verify`.

    Raises:
        IntegrityError: names the files that did.
    """
    now = stamps(folder)
    if changed := sorted(name for name in {*before, *now} if before.get(name) != now.get(name)):
        raise IntegrityError(
            f"{folder}: changed while it was opened",
            found=", ".join(changed),
            action="open it again when nobody writes to it",
        )


def _entry(path: Path) -> FileEntry:
    if path.is_symlink():
        target = b"link to " + os.fsencode(os.readlink(path))
        return FileEntry(sha256=hashlib.sha256(target).hexdigest(), size=len(target))
    return FileEntry(sha256=digest(path), size=path.stat().st_size)


def _same(path: Path, entry: FileEntry) -> bool:
    return (path.is_symlink() or path.stat().st_size == entry.size) and _entry(path) == entry

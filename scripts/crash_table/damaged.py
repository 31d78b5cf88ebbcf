"""One file of a warm cache is damaged, and the same is built again."""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from compiler.errors import CompilerError
from crash_table.subjects import Subject, digests, leftovers, use

STAGES = ("checkpoint", "export", "optimize", "build", "check", "origins")
LATER = {name: STAGES[number + 1 : -1] for number, name in enumerate(STAGES)}  # nothing is made from origins


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 8])):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(max(len(content), 1))])


def empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def scramble(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(max(path.stat().st_size, 1)))


def delete(path: Path, _: random.Random) -> None:
    path.unlink()


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (flip, truncate, empty, scramble, delete)


def files(cache: Path, stage: str) -> list[Path]:
    """A stage's files; not what links lead to, which is the user's."""
    return sorted(path for path in (cache / stage).rglob("*") if path.is_file() and not path.is_symlink())


class Warm:
    """A subject with the cache of its build, which is restored before every draw."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject = subject
        self.cache, self.kept, self.out = folder / "cache", folder / "kept", folder / "out" / "bundle"
        use(self.cache)
        subject.build(self.out)
        self.right = digests(self.out)
        shutil.copytree(self.cache, self.kept, symlinks=True)

    def draw(self, seed: str) -> tuple[str, str]:
        """What was done to which stage's file, and what came of it: "right", or what is wrong."""
        draw = random.Random(seed)
        for folder in (self.cache, self.out):
            shutil.rmtree(folder, ignore_errors=True)  # a refused build leaves no bundle
        shutil.copytree(self.kept, self.cache, symlinks=True)
        stage = draw.choice([name for name in STAGES if files(self.cache, name)])
        path = draw.choice(files(self.cache, stage))
        damage = draw.choice(DAMAGES)
        damage(path, draw)
        removed = LATER[stage] if draw.random() < 0.5 else ()
        for later in removed:
            shutil.rmtree(self.cache / later, ignore_errors=True)
        name = f"{stage}: {self.subject.name}, {path.name}, {damage.__name__}{', later removed' if removed else ''}"
        use(self.cache)
        return name, self._outcome()

    def _outcome(self) -> str:
        try:
            self.subject.build(self.out)
            found = digests(self.out)
        except CompilerError as error:
            return f"refused: {error}"
        except Exception as error:  # noqa: BLE001 - what a user would see as a traceback
            return f"crash: {type(error).__name__}: {error}"
        if found != self.right:
            names = sorted(name for name in {*found, *self.right} if found.get(name) != self.right.get(name))
            return f"wrong: {', '.join(names)}"
        left = [*leftovers(self.cache), *leftovers(self.out.parent)]
        return f"left behind: {', '.join(left)}" if left else "right"


def run(made: list[Subject], folder: Path, draws: int, seed: int) -> Iterator[tuple[str, str]]:
    """What was done, and what came of it. The subjects take turns."""
    prepared = functools.cache(lambda number: Warm(made[number], folder / f"warm{number}"))
    for number in range(draws):
        yield prepared(number % len(made)).draw(f"{seed}.{number}")

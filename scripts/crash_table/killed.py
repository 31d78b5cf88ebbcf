"""A build is killed at a random moment over an older bundle, and built again."""

from __future__ import annotations

import functools
import multiprocessing
import random
import shutil
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from compiler.errors import CompilerError
from crash_table.subjects import Subject, digests, leftovers, use
from tests.models import encoder_bundle

PRELOADED = [
    "torch",
    "transformers",
    "onnxruntime",
    "onnxscript",
    "compiler.export",
    "compiler.check",
    "compiler.pipeline",
]
NOTHING, EXPORTED, ALL = "from an empty cache", "after export", "all but sealed"
START: dict[str, tuple[str, ...]] = {
    NOTHING: (),
    EXPORTED: ("checkpoint", "export"),
    ALL: ("checkpoint", "export", "optimize", "build", "check", "origins"),
}
TURNS = (NOTHING, EXPORTED, NOTHING, ALL)


def work(subject: Subject, cache: Path, out: Path, begun: Connection) -> None:
    """The build of a process that may be killed."""
    use(cache)
    begun.send(None)
    subject.build(out)


class Target:
    """A subject's whole cache, its bundle, and an older one of another model."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject, self.folder = subject, folder
        self.full, self.older = folder / "full", folder / "older"
        self.cache, self.out = folder / "cache", folder / "out" / "bundle"
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.full.mkdir(parents=True)
        self.old = digests(encoder_bundle(self.older))
        self.seconds = {NOTHING: self._undisturbed(NOTHING)}
        self.right = digests(self.out)
        shutil.copytree(self.cache, self.full, symlinks=True, dirs_exist_ok=True)
        self.seconds |= {start: self._undisturbed(start) for start in START if start != NOTHING}

    def kill(self, start: str, seed: str) -> tuple[float, str]:
        """After how many seconds a build was killed, and what came of it: "right", or what is wrong."""
        draw = random.Random(seed)
        while True:
            self._prepare(start)
            process = self._begin()
            after = draw.uniform(0, self.seconds[start])
            process.join(after)
            alive = process.is_alive()
            process.kill()
            process.join()
            if alive:
                return after, self._outcome()

    def _outcome(self) -> str:
        try:
            if digests(self.out) not in (self.old, self.right):
                return "lost: neither the old nor the new bundle"
        except CompilerError as error:
            return f"lost: {error}"
        process = self._begin()
        process.join()
        if process.exitcode:
            return f"refused: exit {process.exitcode}"
        try:
            if digests(self.out) != self.right:
                return "wrong: other digests"
        except CompilerError as error:
            return f"wrong: {error}"
        left = [*leftovers(self.cache, allowed=_free_lock), *leftovers(self.out.parent)]
        return f"left behind: {', '.join(left)}" if left else "right"

    def _undisturbed(self, start: str) -> float:
        self._prepare(start)
        process = self._begin()
        began = time.perf_counter()
        process.join()
        if process.exitcode or digests(self.out) == self.old:
            raise SystemExit(f"{self.subject.name}: a build that nobody disturbs ends with {process.exitcode}")
        return time.perf_counter() - began

    def _prepare(self, start: str) -> None:
        """The older bundle, and a cache with some stages, all or none."""
        for folder in (self.cache, self.out.parent):
            shutil.rmtree(folder, ignore_errors=True)
        self.cache.mkdir()
        shutil.copytree(self.older, self.out)
        for path in (self.full / name for name in START[start]):
            if path.is_dir():
                shutil.copytree(path, self.cache / path.name, symlinks=True)

    def _begin(self) -> multiprocessing.context.ForkServerProcess:
        """A process at the beginning of its build."""
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=work, args=(self.subject, self.cache, self.out, sender))
        process.start()
        sender.close()
        receiver.recv()
        return process


def _free_lock(path: Path) -> bool:
    """The lock of a killed holder: empty, held by nobody, and taken by who comes next."""
    return path.suffix == ".lock" and path.stat().st_size == 0


def run(made: list[Subject], folder: Path, kills: int, seed: int) -> Iterator[tuple[str, str]]:
    """What was done, and what came of it. Half of the builds begin after the export; the subjects take turns."""
    prepared = functools.cache(lambda number: Target(made[number], folder / f"target{number}"))
    for number in range(kills):
        target, start = prepared(number // len(TURNS) % len(made)), TURNS[number % len(TURNS)]
        after, outcome = target.kill(start, f"{seed}.{number}")
        yield f"{start}: {target.subject.name}, killed after {after:.2f} s", outcome

"""Profiles, gates and recorded traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import profile, traffic
from compiler.compare import gates
from compiler.validation import problems
from tests.fuzz.mutate import line_files, toml_files
from tests.fuzz.reader import Reader, at

GATES = b"""
[latency]
max_increase = 0.05
enforce = true
[quality]
max_drop = 0.01
metrics = { accuracy = 0.02, f1 = 0.5 }
[fusions]
lost = 1
"""
TRAFFIC = b'37\n{"tokens": 37}\n{"batch": 4, "tokens": 120}\n12\n'


def _profile(path: Path) -> object:
    found = problems(path)
    assert all(len(each.text) < 1_000_000 for each in found)
    return profile.load(path)


SHAPES = profile.load("nvidia-l4").encoder.shapes


def _traffic(path: Path) -> object:
    return traffic.fit(traffic.read(path), SHAPES, "encoder", 512)


READERS = (
    Reader(
        "profile",
        frozenset({3}),
        toml_files(profile.find("nvidia-l4").read_bytes(), profile.text(profile.find("cpu-x86-avx2")).encode()),
        at("profile.toml", _profile),
        cost=3,
    ),
    Reader("gates", frozenset({3}), toml_files(GATES), at("gates.toml", gates.load)),
    Reader("traffic", frozenset({2}), line_files(TRAFFIC), at("traffic.jsonl", _traffic)),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_files_are_refused(reader: Reader) -> None:
    reader.check()

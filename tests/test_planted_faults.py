"""Planted faults: those of three models, one of each kind, on trial here; all of them in scripts/planted_faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tests.planted import FAULTS, NOTHING
from tests.planted.decoder import DECODER
from tests.planted.encoder import ENCODER
from tests.planted.encoder_decoder import ENCODER_DECODER
from tests.planted.fault import Fault
from tests.planted.subjects import build
from tests.planted.trial import Trial

# What needs a part of the check that nothing else needs, or has the smallest effects.
CHOSEN = {
    ("bert", "float32"): ("a weight's highest mantissa bit", "GELU by tanh", "mask longer", "token that English lacks"),
    ("mistral", "float32"): ("window off", "cached in half", "cache off", "beams", "forgotten", "several tokens"),
    ("t5", "float32"): ("row of the relative", "cross keys in half", "mask of cross attention", "mask of the answer"),
    ("bert", "int8"): ("query and key", "norm without its bias", "token that English lacks", "one token's scale"),
    ("mistral", "int4"): ("window lost", "both codes of a byte", "codes of 8 bits"),
}
TRIED = [
    pytest.param(fault, precision, id=f"{fault.id}, {precision}")
    for (subject, precision), names in CHOSEN.items()
    for fault in FAULTS
    for name in names
    if fault.subject == subject and name in fault.name
]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Trial]:
    folder = tmp_path_factory.mktemp("planted")
    return cache(lambda name, precision: Trial(build(name, folder, precision)))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import planted_table.__main__ as module

    return module


@pytest.mark.parametrize(("name", "precision"), CHOSEN)
def test_without_a_fault_the_check_passes_and_the_engine_is_right(
    name: str, precision: str, trial: Callable[[str, str], Trial]
) -> None:
    outcome = trial(name, precision)(NOTHING)
    assert outcome.reasons == ()
    assert outcome.effect == 0
    assert outcome.noise < {"float32": 1e-5, "int8": 0.02, "int4": 0.1}[precision] * outcome.scale


@pytest.mark.parametrize(("fault", "precision"), TRIED)
def test_a_fault_above_noise_is_found(fault: Fault, precision: str, trial: Callable[[str, str], Trial]) -> None:
    outcome = trial(fault.subject, precision)(fault)
    assert outcome.above
    assert outcome.reasons


def test_every_kind_has_thirty_and_each_is_there_once() -> None:
    fewest = min(map(len, (ENCODER, DECODER, ENCODER_DECODER)))
    assert fewest >= 30
    assert max(Counter(fault.id for fault in FAULTS).values()) == 1


def test_the_table_has_every_fault_and_none_was_missed(script: ModuleType) -> None:
    text = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
    order = list(script.SUBJECTS)
    faults = sorted(FAULTS, key=lambda fault: order.index(fault.subject))
    assert script.listed(text) == [(fault.subject, fault.name) for fault in faults]
    assert script.MISSED not in text

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from compiler.measure import workloads as measured
from compiler.measure.workloads import workloads_of
from compiler.records import CacheShape
from tests import models

INPUTS, OUTPUTS = models.decoder_signature(shared=True)
ENCODER = models.manifest("encoder", INPUTS[:2], OUTPUTS[:1])
DECODER = models.manifest("decoder", INPUTS, OUTPUTS, layout="shared")


class Recorder:
    """A session that takes no time and keeps what it is asked."""

    def __init__(self) -> None:
        self.feeds: list[dict[str, np.ndarray]] = []
        self.steps: list[tuple[tuple[int, ...], list[int]]] = []
        self.capacities: list[int] = []

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.feeds.append(feeds)
        return {}

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: object = None) -> Recorder:
        self.capacities.append(capacity)
        self.capacity = capacity
        return self

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        self.steps.append((input_ids.shape, lengths.tolist()))
        return np.zeros((1, models.VOCABULARY), dtype=np.float32)

    def close(self) -> None:
        pass


def test_encoder_shapes_fit_the_context() -> None:
    long, short = (list(workloads_of(replace(ENCODER, context_length=length))) for length in (512, 32))
    assert long == ["latency_1x32", "latency_1x128", "latency_8x128"]
    assert short == ["latency_1x32", "latency_8x32"]


def test_an_encoder_is_warmed_up_and_timed_without_padding() -> None:
    session = Recorder()
    samples = workloads_of(replace(ENCODER, context_length=512))["latency_8x128"](session)
    assert len(samples["latency_8x128"]) == measured.ENCODER_CALLS
    assert len(session.feeds) == measured.ENCODER_CALLS + measured.ENCODER_WARMUP
    feeds = session.feeds[0]
    assert feeds["input_ids"].shape == (8, 128)
    assert feeds["input_ids"].max() < models.VOCABULARY
    assert feeds["attention_mask"].min() == 1


def test_choices_are_an_axis() -> None:
    shape = ("batch", "choices", "sequence")
    about = replace(ENCODER, context_length=128, inputs=tuple(replace(each, shape=shape) for each in ENCODER.inputs))
    session = Recorder()
    samples = workloads_of(about)["latency_8x4x128"](session)
    assert list(samples) == ["latency_8x4x128"]
    assert session.feeds[0]["input_ids"].shape == session.feeds[0]["attention_mask"].shape == (8, 4, 128)


def test_a_slow_encoder_ends_its_round_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "ENCODER_SECONDS", 0.0)
    samples = workloads_of(ENCODER)["latency_1x32"](Recorder())
    assert len(samples["latency_1x32"]) == measured.ENCODER_LEAST


def test_a_decoder_generates_after_its_prompt() -> None:
    session = Recorder()
    samples = workloads_of(replace(DECODER, context_length=4096))["generate"](session)
    assert len(samples["time_to_first_token_128"]) == 2
    assert len(samples["time_per_token"]) == 2 * 23
    assert session.capacities[-1] == 128 + 24
    generation = session.steps[-24:]
    assert generation[0] == ((1, 128), [128])
    assert generation[1:] == [((1, 1), [128 + i]) for i in range(1, 24)]


def test_a_slow_decoder_generates_fewer_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "DECODER_SECONDS", 0.0)
    samples = workloads_of(DECODER)["generate"](Recorder())
    assert len(samples["time_per_token"]) == 2 * (measured.DECODER_LEAST - 1)

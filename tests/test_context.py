"""What context a bundle promises: as far as it is checked, and never past a branch that its graph does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import pipeline, records
from compiler.bundle import CERTIFICATE, read
from compiler.context import MOST, checked_context
from compiler.errors import UsageError
from compiler.progress import Event
from compiler.records import Certificate, Exported, Source
from tests.families import Family, checkpoint

BRANCH = (5 + 2 * 3) * 16  # tokens up to which a BigBird with blocks of 16 and 3 random ones attends to all others
BIG_BIRD = Family(
    "big_bird",
    "big_bird",
    "feature-extraction",
    {
        "vocab_size": 300,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "sep_token_id": 2,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "block_size": 16,
    },
)


def exported(context: int, parameters: int) -> Exported:
    return Exported(
        source=Source(kind="folder", name="x", digest="0"),
        task="text-generation",
        kind="decoder",
        architecture="X",
        model_type="x",
        model="model.onnx",
        opset=23,
        inputs=(),
        outputs=(),
        parameters=parameters,
        context_length=context,
        stated_context=context,
        vocabulary=1,
        seconds=0.0,
        versions={},
    )


@pytest.mark.parametrize(
    ("context", "parameters", "asked", "promised"),
    [
        (512, 10**8, None, 512),
        (8192, 134_515_008, None, MOST),  # SmolLM2
        (131072, 134_515_008, None, MOST),
        (131072, 8 * 10**9, None, MOST),
        (131072, 8 * 10**9, 131072, 131072),
        (512, 10**8, 100, 100),
    ],
)
def test_the_context_is_what_is_checked(context: int, parameters: int, asked: int | None, promised: int) -> None:
    said: list[str] = []
    found = checked_context(exported(context, parameters), asked, said.append)
    assert found.context_length == promised
    assert [each.split(":")[0] for each in said] == ([f"{promised} of {context} tokens"] if promised < context else [])
    assert bool(found.context_reason) == (promised < context)


@pytest.mark.parametrize("asked", [0, -5, 15, 513])
def test_no_more_is_promised_than_the_model_takes(asked: int) -> None:
    with pytest.raises(UsageError, match="--context"):
        checked_context(exported(512, 1), asked, print)


def test_a_branch_on_length_ends_the_context(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph traced with short texts has BigBird's full attention alone; longer ones get block-sparse attention."""
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(cache))
    model = checkpoint(BIG_BIRD, tmp_path / "model")
    events: list[Event] = []
    bundle = pipeline.build(
        str(model),
        profile="cpu-x86-avx2",
        precision="float32",
        out=tmp_path / "out",
        bench=False,
        progress=events.append,
    )
    assert read(bundle).context_length == BRANCH
    certificate = records.load(bundle / CERTIFICATE, Certificate)
    assert (certificate.context_length, certificate.checked.context, certificate.stated_context) == (
        BRANCH,
        BRANCH,
        512,
    )
    assert "BigBirdModel takes another branch" in certificate.context_reason
    assert any("another branch" in event.message for event in events if event.stage == "context")
    with pytest.raises(UsageError, match=str(BRANCH)):
        pipeline.build(str(model), profile="cpu-x86-avx2", context=BRANCH + 1, out=tmp_path / "more", bench=False)

"""Trained weights through the whole pipeline: what a model is good at, it is as good at when compiled."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler import pipeline
from compiler.storage import staging
from tests import taught, trained

TEXTS = [
    "How do I get my money back?",
    "Refunds are paid within five days.",
    "The parcel was handed to the carrier this morning.",
    "A cat sat on the mat. " * 12,
]
# An acid chloride and an amine, a Suzuki coupling, an ester's hydrolysis, a Boc group's removal: each twice.
REACTIONS = {
    "CC(=O)Cl.Nc1ccccc1>>CC(=O)Nc1ccccc1": "amide",
    "O=C(Cl)c1ccccc1.NCC>>O=C(NCC)c1ccccc1": "amide",
    "Brc1ccccc1.OB(O)c1ccccc1>>c1ccc(-c2ccccc2)cc1": "suzuki",
    "Brc1ccncc1.OB(O)c1ccc(C)cc1>>Cc1ccc(-c2ccncc2)cc1": "suzuki",
    "CC(=O)OC>>CC(=O)O": "hydrolysis",
    "COC(=O)c1ccccc1>>O=C(O)c1ccccc1": "hydrolysis",
    "CC(C)(C)OC(=O)NCC>>NCC": "deprotection",
    "CC(C)(C)OC(=O)N1CCCCC1>>C1CCNCC1": "deprotection",
}
# The heavy chains of trastuzumab and adalimumab.
CHAINS = [
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQGTLVTVSS",
    "EVQLVESGGGLVQPGRSLRLSCAASGFTFDDYAMHWVRQAPGKGLEWVSAITWNSGHIDYADSVEGRFTISRDNAKNSLYLQMNSLRAEDTAVYYCAKVSYLSTASSLDYWGQGTLVTVSS",
]

Build = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """The packages with trained weights are on this disk."""
    for path in (trained.MINILM, trained.ALBERT, trained.BERT, trained.CLASSIFIER, trained.ANTIBODIES):
        if not path.exists():
            pytest.fail(f"{path} is missing: scripts/test fetches it; COMPILER_DEMO_MODELS names another folder")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A bundle of a checkpoint. It is within its budget: otherwise building it raises."""
    folder = tmp_path_factory.mktemp("trained")

    def built(checkpoint: Path, precision: str = "float32", **options: Any) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRANSFORMER_COMPILER_CACHE", str(folder / "cache"))
            out = folder / f"{checkpoint.name}-{precision}"
            return pipeline.build(str(checkpoint), precision=precision, out=out, bench=False, **options)

    return built


@pytest.fixture(scope="module")
def teach(pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """The folder of a model of `taught`, trained in this test session or in one before it."""
    import torch

    stated = Path(taught.__file__).read_bytes() + torch.__version__.encode()
    kept = pytestconfig.cache.mkdir("taught")

    def folder(name: str) -> Path:
        path = kept / hashlib.sha256(stated).hexdigest()[:16] / name
        if not path.exists():
            with staging(path, "config.json") as made:
                getattr(taught, name)(made)
        return path

    return folder


@pytest.fixture(scope="module")
def minilm() -> np.ndarray:
    """MiniLM's own vectors of `TEXTS`, by PyTorch: means over the tokens, of length 1."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(trained.MINILM)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = transformers.AutoModel.from_pretrained(trained.MINILM).eval()(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    means = (states * mask).sum(1) / mask.sum(1)
    return np.asarray(torch.nn.functional.normalize(means))


@pytest.mark.parametrize("model_type", ["electra", "distilbert", "roberta", "xlm-roberta"])
def test_a_transplanted_encoder_gives_the_donors_vectors(
    build: Build, minilm: np.ndarray, tmp_path: Path, model_type: str
) -> None:
    with compiler.load(build(trained.transplanted(model_type, tmp_path / model_type))) as model:
        np.testing.assert_allclose(model.embed(TEXTS), minilm, atol=1e-5)
        assert model.manifest.model_type == model_type


@pytest.mark.parametrize(
    ("name", "make", "texts", "pattern", "mask", "known"),
    [
        ("albert", lambda folder: trained.reactions("albert", folder), [*REACTIONS], trained.ATOMS, "[MASK]", 0.9),
        ("bert", lambda folder: trained.reactions("bert", folder), [*REACTIONS], trained.ATOMS, "[MASK]", 0.9),
        ("antibodies", trained.antibodies, CHAINS, "[A-Z]", "<mask>", 0.75),
    ],
    ids=["albert", "bert", "antibodies"],
)
def test_masks_are_filled_as_by_pytorch(  # noqa: PLR0917
    build: Build, tmp_path: Path, name: str, make: Any, texts: list[str], pattern: str, mask: str, known: float
) -> None:
    """Every token of the texts is masked in turn. `known` is the share that the model has to get right."""
    checkpoint = make(tmp_path / name)
    asked, hidden = [], []
    for text in texts:
        for found in re.finditer(pattern, text):
            asked.append(text[: found.start()] + mask + text[found.end() :])
            hidden.append(found[0])
    expected = _filled(checkpoint, asked)
    right = np.mean([theirs == truth for theirs, truth in zip(expected, hidden, strict=True)])
    assert right >= known
    with compiler.load(build(checkpoint, task="fill-mask")) as model:
        answers = [best["token_str"] for (best,) in model.fill_mask(asked, top_k=1)]
    assert answers == expected


def _filled(checkpoint: Path, texts: list[str]) -> list[str]:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        logits = model(**batch).logits
    best = logits[batch["input_ids"] == tokenizer.mask_token_id].argmax(-1)
    return [str(token) for token in tokenizer.convert_ids_to_tokens(best.tolist())]


def test_kinds_of_reactions_are_told_apart(build: Build, tmp_path: Path) -> None:
    import torch
    import transformers

    checkpoint = trained.reactions("classes", tmp_path / "classes")
    reference = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    batch = tokenizer([*REACTIONS], padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        scores = reference(**batch).logits.softmax(-1)
    with compiler.load(build(checkpoint, task="text-classification")) as model:
        found = [best for (best,) in model.classify([*REACTIONS])]
    assert [each["label"] for each in found] == [reference.config.id2label[int(best)] for best in scores.argmax(-1)]
    np.testing.assert_allclose([each["score"] for each in found], scores.amax(-1), atol=1e-5)
    labels = dict(zip((each["label"] for each in found), REACTIONS.values(), strict=True))
    pairs = {(each["label"], kind) for each, kind in zip(found, REACTIONS.values(), strict=True)}
    assert len(labels) == len(pairs) == 4  # one label for each kind, another for every other
    assert min(each["score"] for each in found) > 0.99


@pytest.mark.parametrize(("name", "items"), [("gpt2", taught.numbers), ("t5", taught.dates)])
def test_a_taught_model_stays_right(build: Build, teach: Callable[[str], Path], name: str, items: Any) -> None:
    """In float32 every answer is PyTorch's, in int8 at most 2 of 100 are lost."""
    checkpoint = teach(name)
    _, held_out = items()
    questions = [item.question for item in held_out]
    truth = [item.answer for item in held_out]
    theirs = _generated(checkpoint, questions)
    reference = np.mean([answer == right for answer, right in zip(theirs, truth, strict=True)])
    assert reference >= 0.97
    for precision in ("float32", "int8-dynamic"):
        with compiler.load(build(checkpoint, precision)) as model:
            ours = [text.strip() for text in model.generate(questions, max_new_tokens=12)]
        if precision == "float32":
            assert ours == theirs
        score = np.mean([answer == right for answer, right in zip(ours, truth, strict=True)])
        assert score >= reference - 0.02


def _generated(checkpoint: Path, questions: list[str]) -> list[str]:
    import torch
    import transformers

    encoder_decoder = transformers.AutoConfig.from_pretrained(checkpoint).is_encoder_decoder
    loader = transformers.AutoModelForSeq2SeqLM if encoder_decoder else transformers.AutoModelForCausalLM
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    batch = tokenizer(questions, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        tokens = loader.from_pretrained(checkpoint).generate(**batch, do_sample=False, max_new_tokens=12)
    start = 1 if encoder_decoder else batch["input_ids"].shape[1]
    return [text.strip() for text in tokenizer.batch_decode(tokens[:, start:], skip_special_tokens=True)]

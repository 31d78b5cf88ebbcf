"""Where parity breaks: the first layer whose output leaves its tolerance, and the module in it that does so first.

PyTorch runs once in float64 and once in float32, and every layer's output goes to a file as it is made; then the
engine runs, and its tensors are compared a few at a time. Neither side's layers are ever in memory together.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from compiler.check import steps
from compiler.check.compare import max_abs_error
from compiler.check.examples import Examples
from compiler.check.feeds import Feeds, Text
from compiler.check.generated import prefill_feeds
from compiler.check.limits import Limits, floor
from compiler.check.noise import Noise
from compiler.check.references import OpenReference, ReferenceModel
from compiler.checkpoint.arithmetic import Arithmetic
from compiler.checkpoint.marks import Marks
from compiler.engines import EncoderDecoderSession, Session
from compiler.engines.adapted import rank_zero
from compiler.errors import IntegrityError
from compiler.records import Budget, Manifest, NoiseSource, graph_files
from compiler.records.divergence import Diverged, Layer

TOKENS = 128  # of the text that a decoder reads
PIECES, ANSWER = (24, 64, 9, 40), 16  # tokens of the texts of an encoder-decoder, and of each answer

# A quantized layer is named where it adds so many times as much error as the layers do at the median.
JUMP = 3.0

# What an error is, by whether the engine is to be exact.
MEASURES = {
    True: "the largest absolute difference",
    False: "a token's distance over the length of its vector, at the mean",
}

# What PyTorch's float32 is compared with for its noise.
OWN: dict[NoiseSource, str] = {
    "float64": "float32 against float64",
    "reorderings": "float32 sums in different orders, since PyTorch gives no float64 answers",
}

# What `Engine.watch` and `Engine.precisions` say of one graph of the bundle, by its file.
Watch = Callable[[str, Sequence[str], Feeds], Iterator[tuple[str, list[np.ndarray]]]]
Precisions = Callable[[str], dict[str, str]]


class Call(NamedTuple):
    """One call of the model on both sides.

    Attributes:
        reference: makes the reference run.
        graphs: the bundle's graphs with what each is fed.
        mask: (batch, sequence) bool, the real tokens of what has this shape.
    """

    reference: Callable[[ReferenceModel], object]
    graphs: list[tuple[str, Feeds]]
    mask: np.ndarray


def bisect(
    session: Session,
    manifest: Manifest,
    *,
    watch: Watch,
    precisions: Precisions,
    open_reference: OpenReference,
    texts: Sequence[str],
    budget: Budget,
    tokenizer: Path,
    marks: Marks | None = None,
) -> Diverged:
    """Compare layer by layer. Arguments as in `check`.

    Raises:
        InputError: the text is too short, or the graph has an input that is not made of text.
        EngineError: the engine cannot show what is between its layers.
    """
    start = time.perf_counter()
    call = _call(session, manifest, Text(texts, tokenizer, marks or Marks()))
    limits = Limits(manifest.precision, budget, Noise(0.0))
    compared, skipped, source = _compare(call, watch, open_reference, limits)
    layers = compared if limits.precision == "float32" else _judged_by_growth(compared)
    first = next((layer for layer in layers if not layer.passed), None)
    within: list[Layer] = []
    if first is not None:
        within, _, _ = _compare(call, watch, open_reference, limits, first.module)
        if limits.precision != "float32":
            within = [msgspec.structs.replace(each, limit=None) for each in within]
    return Diverged(
        precision=manifest.precision,
        first=first.module if first else None,
        culprit=next((layer.module for layer in within if not layer.passed), None),
        layers=_with_precision(layers, manifest, precisions),
        within=_with_precision(within, manifest, precisions),
        skipped=tuple(skipped),
        measure=MEASURES[limits.precision == "float32"],
        basis=f"{limits.factor:g} times PyTorch's own noise there, {OWN[source]}"
        if limits.precision == "float32"
        else f"the layer before, and {JUMP:g} times what layers add at the median",
        seconds=time.perf_counter() - start,
    )


def _call(session: Session, manifest: Manifest, text: Text) -> Call:
    """A text as the check of this kind of model uses it, once."""
    matrices = rank_zero(manifest.adapter_inputs)
    if manifest.kind == "encoder":
        feeds = Examples(manifest, text).batch(0)
        mask = feeds["attention_mask"].astype(bool)
        graphs = [(manifest.model, {**feeds, **matrices})]
        return Call(lambda reference: reference.run(feeds), graphs, mask.reshape(-1, mask.shape[-1]))
    if manifest.encoder is None:
        ids = text.windows(1, min(TOKENS, manifest.context_length))[0][None]
        ones, positions = np.ones_like(ids), np.arange(ids.shape[1])[None]
        graphs = [(manifest.model, {**prefill_feeds(manifest, ids), **matrices})]
        return Call(lambda reference: reference.logits(ids, ones, positions), graphs, ones.astype(bool))
    if not isinstance(session, EncoderDecoderSession):
        raise IntegrityError("the session of this encoder-decoder has no encoder", action="build the bundle again")
    lengths = [min(length, manifest.context_length) for length in PIECES]
    feeds = text.batch(text.pieces(lengths), ("input_ids", "attention_mask"))
    mask = feeds["attention_mask"]
    tokens = np.stack(text.windows(len(PIECES), min(ANSWER, manifest.context_length)))
    feeds = {name: array[: len(tokens)] for name, array in feeds.items()}
    constants = {**session.encode(feeds), "encoder_attention_mask": feeds["attention_mask"]}
    graphs = [(manifest.encoder.model, feeds), (manifest.model, prefill_feeds(manifest, tokens, constants))]
    return Call(lambda reference: reference.answers(feeds, tokens), graphs, mask[: len(tokens)].astype(bool))


def _compare(
    call: Call, watch: Watch, open_reference: OpenReference, limits: Limits, inside: str | None = None
) -> tuple[list[Layer], list[str], NoiseSource]:
    """Every layer, or every module inside one, as it runs; those of which the engine shows no tensor; whence noise."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = _record_exactly(call, open_reference, inside, folder)
        order = _record(call, open_reference, "float32", inside, folder)
        found: dict[str, Layer] = {}
        for model, feeds in call.graphs:
            for number, (module, tensors) in enumerate(watch(model, order, feeds)):
                steps.step(module, number, len(order))
                expected, exact = (np.load(_file(folder, kind, module)) for kind in ("float32", "exact"))
                layer = _closest(module, tensors, (expected, exact), call.mask, limits)
                if layer is not None and (module not in found or _error(layer) < _error(found[module])):
                    found[module] = layer
    layers, skipped = [found[each] for each in order if each in found], [each for each in order if each not in found]
    return layers, skipped, source


def _with_precision(layers: Sequence[Layer], manifest: Manifest, precisions: Precisions) -> tuple[Layer, ...]:
    """Each layer with the precisions of its own products, and of those of all modules in it."""
    found = [item for model in graph_files(manifest) for item in precisions(model).items()]
    return tuple(
        msgspec.structs.replace(
            layer,
            precision=", ".join(sorted({each for path, each in found if f"{path}.".startswith(f"{layer.module}.")})),
        )
        for layer in layers
    )


def _record_exactly(call: Call, open_reference: OpenReference, inside: str | None, folder: Path) -> NoiseSource:
    """What float32 is compared with for its noise; see `noise.exactly`."""
    try:
        _record(call, open_reference, "float64", inside, folder, kind="exact")
        return "float64"
    except Exception:  # noqa: BLE001 - modeling code that mixes precisions raises many kinds; float32 then has its say
        _record(call, open_reference, "reordered", inside, folder, kind="exact")
        return "reorderings"


def _record(
    call: Call,
    open_reference: OpenReference,
    dtype: Arithmetic,
    inside: str | None,
    folder: Path,
    *,
    kind: str = "float32",
) -> list[str]:
    """Run PyTorch, and keep an output of each module in a file. The modules, in the order they finish.

    Where a text grows from call to call, that is the last one. Of a layer that a model runs several times over, the
    first: all later ones begin with the error of those before.
    """
    order: dict[str, tuple[int, ...]] = {}

    def keep(module: str, output: np.ndarray) -> None:
        if order.get(module) == output.shape:
            return
        if dtype == "float64" and not (output.dtype == np.float64 and np.isfinite(output).all()):
            raise FloatingPointError(f"{module} gives {output.dtype}, or is not finite")
        order.pop(module, None)
        order[module] = output.shape
        np.save(_file(folder, kind, module), output)

    with closing(open_reference(dtype)) as reference, reference.watching(reference.layers(inside), keep):
        call.reference(reference)
    return list(order)


def _file(folder: Path, kind: str, module: str) -> Path:
    return folder / f"{module}.{kind}.npy"


def _closest(
    module: str,
    tensors: Sequence[np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
    mask: np.ndarray,
    limits: Limits,
) -> Layer | None:
    """Of the tensors that leave a module, its output: the one closest to `theirs`, PyTorch's in float32 and float64.

    None where no tensor has the size. Where one of them is not finite, no other is taken for the output.
    """
    expected, exact = theirs
    same = [each.reshape(expected.shape) for each in tensors if each.size == expected.size and each.dtype.kind == "f"]
    if not same:
        return None
    real = mask if expected.shape[:2] == mask.shape else ...
    wanted = expected[real]
    exactly = limits.precision == "float32"
    apart = _largest if exactly else _share
    errors = [apart(each[real], wanted) for each in same]
    error = min(errors) if all(map(math.isfinite, errors)) else math.inf
    scale = float(np.abs(wanted).max(initial=0.0)) if exactly else 1.0
    noise = max(apart(wanted, exact[real]), floor(scale))
    return Layer(
        module=module,
        error=error if math.isfinite(error) else None,
        scale=scale,
        noise=noise,
        samples=wanted.size,
        limit=limits.factor * noise,
    )


def _largest(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference; infinite where there is NaN or infinity."""
    return max_abs_error(actual, expected) if np.isfinite(actual).all() else math.inf


def _share(actual: np.ndarray, expected: np.ndarray) -> float:
    """How far a token's vector (the last axis) is away, over its own length, at the mean of all tokens.

    Some tokens have a few values that are thousands of times larger than all others, and would hide the rest.
    """
    if not np.isfinite(actual).all():
        return math.inf
    lengths = np.linalg.norm(expected, axis=-1)
    distances = np.linalg.norm(actual - expected, axis=-1)
    return float(np.mean(distances / np.where(lengths > 0, lengths, 1.0)))


def _error(layer: Layer) -> float:
    return math.inf if layer.error is None else layer.error


def _judged_by_growth(layers: Sequence[Layer]) -> list[Layer]:
    """The same with limits for a quantized engine, whose every layer adds error: none may add far more than most do.

    Errors that layers add are independent, so their squares add up.
    """
    errors = [_error(layer) for layer in layers]
    before = [0.0, *errors[:-1]]
    squares = [error**2 - last**2 for error, last in zip(errors, before, strict=True) if math.isfinite(error)]
    step = JUMP * math.sqrt(statistics.median([square for square in squares if square > 0] or [0.0]))
    return [
        msgspec.structs.replace(layer, limit=max(math.hypot(last, step), layer.limit or 0.0))
        if math.isfinite(last)
        else layer
        for layer, last in zip(layers, before, strict=True)
    ]

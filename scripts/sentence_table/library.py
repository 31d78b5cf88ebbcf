"""Runs with one version of sentence-transformers: `python -m sentence_table.library write|read FOLDER`.

`write` saves every variant that this version can make into a folder of its own; `read` opens all of them. Both put the
answers of this version beside the folders, `NAME.write.npy` and `NAME.read.npy`.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from tests import sentence
from tests.sentence import HIDDEN, QUERY, TEXTS

Maker = Callable[[Path, Path], Any]
VARIANTS: dict[str, Maker] = {}


def variant(name: str) -> Callable[[Maker], Maker]:
    def register(make: Maker) -> Maker:
        VARIANTS[name] = make
        return make

    return register


def encoder(base: Path, *modules: Any, text: dict[str, Any] | None = None, **settings: Any) -> Any:
    from sentence_transformers import SentenceTransformer, models

    made = [models.Transformer(str(base), **(text or {})), *modules]
    return SentenceTransformer(modules=made, device="cpu", **settings)


def pooled(mode: str | tuple[str, ...], **settings: Any) -> Any:
    """By name, or several by the flags that all versions take."""
    from sentence_transformers import models

    if isinstance(mode, str):
        return models.Pooling(HIDDEN, pooling_mode=mode, **settings)
    names = {each: each if each == "lasttoken" else f"{each}_token" + "s" * (each != "cls") for each in mode}
    names |= {"mean_sqrt_len_tokens": "mean_sqrt_len_tokens"} if "mean_sqrt_len_tokens" in mode else {}
    flags = {"pooling_mode_mean_tokens": False} | {f"pooling_mode_{name}": True for name in names.values()}
    return models.Pooling(HIDDEN, **flags, **settings)


def dense(width: int, outputs: int, activation: str, **settings: Any) -> Any:
    from sentence_transformers import models

    return models.Dense(width, outputs, activation_function=getattr(torch.nn, activation)(), **settings)


def layer_norm(width: int) -> Any:
    from sentence_transformers import models

    made = models.LayerNorm(width)
    torch.nn.init.normal_(made.norm.weight)
    torch.nn.init.normal_(made.norm.bias)
    return made


def normalize() -> Any:
    from sentence_transformers import models

    return models.Normalize()


@variant("mean, Normalize")
def _mean(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled("mean"), normalize())


@variant("cls, Dense tanh, Normalize")
def _cls(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled("cls"), dense(HIDDEN, 8, "Tanh"), normalize())


@variant("max, LayerNorm")
def _max(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled("max"), layer_norm(HIDDEN))


@variant("last token of a decoder, Normalize")
def _last(_: Path, llama: Path) -> Any:
    return encoder(llama, pooled("lasttoken"), normalize())


@variant("weighted mean of a decoder, two Dense")
def _weighted(_: Path, llama: Path) -> Any:
    return encoder(llama, pooled("weightedmean"), dense(HIDDEN, 40, "GELU", bias=False), dense(40, 12, "Identity"))


@variant("mean sqrt, Dropout, Dense ReLU, LayerNorm, Normalize")
def _root(bert: Path, _: Path) -> Any:
    from sentence_transformers import models

    behind = (models.Dropout(0.5), dense(HIDDEN, 24, "ReLU"), layer_norm(24), normalize())
    return encoder(bert, pooled("mean_sqrt_len_tokens"), *behind)


@variant("cls, max and mean side by side, Dense SiLU")
def _several(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled(("cls", "max", "mean")), dense(3 * HIDDEN, 10, "SiLU"))


@variant("all six side by side")
def _all(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled(("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")))


@variant("Normalize, Dense sigmoid")
def _early(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled("mean"), normalize(), dense(HIDDEN, 8, "Sigmoid"))


@variant("mean of a decoder that has a chat template, Normalize")
def _chat(_: Path, llama: Path) -> Any:
    chat = Path(shutil.copytree(llama, llama.with_name("chat")))
    (chat / "chat_template.jinja").write_text("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}")
    return encoder(chat, pooled("mean"), normalize())


@variant("a default prompt")
def _prompt(bert: Path, _: Path) -> Any:
    prompts = {"query": "Query: ", "passage": "passage: "}
    return encoder(bert, pooled("mean"), normalize(), prompts=prompts, default_prompt_name="query")


@variant("a prompt that is left out of the mean")
def _excluded(bert: Path, _: Path) -> Any:
    prompts = {"task": "Represent the sentence:"}
    return encoder(bert, pooled("mean", include_prompt=False), prompts=prompts, default_prompt_name="task")


@variant("a prompt that is left out of the weighted mean of a decoder")
def _excluded_weighted(_: Path, llama: Path) -> Any:
    prompts = {"task": "Represent the sentence: "}
    pooling = pooled("weightedmean", include_prompt=False)
    return encoder(llama, pooling, prompts=prompts, default_prompt_name="task")


@variant("small letters, 20 tokens")
def _small(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled("mean"), text={"do_lower_case": True, "max_seq_length": 20})


@variant("pickles, Dense, Normalize")
def _pickled(bert: Path, _: Path) -> Any:
    made = encoder(bert, pooled("mean"), dense(HIDDEN, 8, "Tanh"), normalize())
    made.pickled = True
    return made


@variant("Dense with a residual")
def _residual(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled("mean"), dense(HIDDEN, 8, "Tanh", use_residual=True))


@variant("12 of the numbers")
def _truncated(bert: Path, _: Path) -> Any:
    return encoder(bert, pooled("mean"), normalize(), truncate_dim=12)


@variant("CrossEncoder, one label")
def _ranker(bert: Path, _: Path) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(sentence.bert(bert.with_name("ranker"), "BertForSequenceClassification", num_labels=1)))


@variant("CrossEncoder, one label, Identity")
def _logits(bert: Path, _: Path) -> Any:
    from sentence_transformers import CrossEncoder

    made = _ranker(bert, bert)
    name = "activation_fn" if hasattr(made, "activation_fn") else "default_activation_function"
    settings = {name: torch.nn.Identity()}
    return CrossEncoder(str(bert.with_name("ranker")), **settings)


@variant("CrossEncoder, three labels")
def _classes(bert: Path, _: Path) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(sentence.bert(bert.with_name("classes"), "BertForSequenceClassification", num_labels=3)))


@variant("WordWeights")
def _word_weights(bert: Path, _: Path) -> Any:
    from sentence_transformers import models

    made = encoder(bert, models.WordWeights(["a", "b"], {"a": 0.5, "b": 0.2}), pooled("mean"))
    made.refused = True
    return made


@variant("CNN")
def _cnn(bert: Path, _: Path) -> Any:
    from sentence_transformers import models

    made = encoder(bert, models.CNN(HIDDEN, 8, [1, 3]), models.Pooling(16, pooling_mode="mean"))
    made.refused = True
    return made


@variant("SparseEncoder")
def _sparse(bert: Path, _: Path) -> Any:
    from sentence_transformers import SparseEncoder

    made = SparseEncoder(str(sentence.bert(bert.with_name("sparse"), "BertForMaskedLM")))
    made.refused = True
    return made


def answers(model: Any) -> np.ndarray:
    """Vectors of TEXTS, or scores of QUERY with each of them."""
    found = model.predict([(QUERY, text) for text in TEXTS]) if hasattr(model, "predict") else model.encode(TEXTS)
    return np.asarray(found, np.float32)


def write(out: Path) -> None:
    import sentence_transformers

    bert, llama = sentence.bert(out / "base" / "bert"), sentence.llama(out / "base" / "llama")
    for name, make in VARIANTS.items():
        torch.manual_seed(1)
        try:
            made = make(bert, llama)
        except (ImportError, TypeError) as error:  # this version has no such thing
            print(f"{sentence_transformers.__version__}: no {name} ({error})", file=sys.stderr)
            continue
        made.save_pretrained(str(out / name))
        if getattr(made, "pickled", False):
            for weights in (out / name).rglob("model.safetensors"):
                torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
                weights.unlink()
        if getattr(made, "refused", False):
            (out / f"{name}.refused").touch()
            continue
        np.save(out / f"{name}.write.npy", answers(reopened(out / name)))


def read(out: Path) -> None:
    for written in sorted(out.glob("*.write.npy")):
        name = written.name.removesuffix(".write.npy")
        np.save(out / f"{name}.read.npy", answers(reopened(out / name)))


def reopened(folder: Path) -> Any:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    kind = CrossEncoder if folder.name.startswith("CrossEncoder") else SentenceTransformer
    return kind(str(folder), device="cpu")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))

"""`compile run`: use a bundle from the shell."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli import options
from compiler.errors import UsageError

if TYPE_CHECKING:
    from compiler.runtime import Model


@click.command(short_help="Text through a bundle: generate, or compare.")
@click.argument("bundle", type=options.FOLDER)
@click.argument("text", nargs=-1)
@click.option("--prompt", help="The text to go on from.  [default: TEXT, or standard input]")
@click.option("--chat", is_flag=True, help="Put the prompt into the model's chat template.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Stop after this many tokens.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 takes the most likely token every time.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Sample from this share of probability.")
@click.option("--top-k", type=click.IntRange(min=1), help="Sample from this many tokens.")
@click.option("--seed", type=int, help="Sample the same answer again.")
@click.option("--stop", multiple=True, help="Stop before this text. Repeatable.")
@click.option("--threads", type=click.IntRange(min=1), help="[default: every physical core]")
@click.option("--no-verify", is_flag=True, help="Start faster: do not compare the files with their digests.")
@options.output
def run(
    *,
    bundle: Path,
    text: tuple[str, ...],
    prompt: str | None,
    chat: bool,
    threads: int | None,
    no_verify: bool,
    as_json: bool,
    verbose: bool,
    **sampling: Any,
) -> None:
    """Generate text with BUNDLE, streamed to stdout, or rank texts by similarity to the first.

    \b
    Examples:
      compile run artifacts/llm --prompt "The capital of France is" --max-new-tokens 20
      echo "Why is the sky blue?" | compile run artifacts/llm --chat --temperature 0.7 --seed 1
      compile run artifacts/encoder "a cat" "a kitten" "a car"
      compile run artifacts/encoder --json < sentences.txt
    """
    from compiler import bundle as bundles

    task = bundles.read(bundle).task
    if task == "text-generation":
        source = prompt if prompt is not None else " ".join(text) if text else _stdin()
        settings = {name: value for name, value in sampling.items() if value not in (None, ())}
        with _load(bundle, no_verify, threads) as model:
            _generate(model, [{"role": "user", "content": source}] if chat else source, settings, as_json)
    elif task == "feature-extraction":
        texts = list(text) or _stdin().splitlines()
        with _load(bundle, no_verify, threads) as model:
            _compare(model, texts, as_json)
    else:
        raise UsageError(
            f'a bundle for "{task}" cannot be run from the shell',
            expected="text-generation or feature-extraction",
            action="use compiler.load(bundle).run(feeds) in Python",
        )


def _load(bundle: Path, no_verify: bool, threads: int | None) -> Model:
    from compiler import runtime

    if not no_verify:
        return runtime.load(bundle, threads=threads)
    click.echo(f"{bundle}: not compared with its digests", err=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", runtime.UnverifiedWarning)
        return runtime.load(bundle, verify=False, threads=threads)


def _generate(model: Model, prompt: Any, settings: dict[str, Any], as_json: bool) -> None:
    from compiler.cli.output import emit

    if as_json:
        emit({"prompt": prompt, "text": model.generate(prompt, **settings)})
        return
    for piece in model.generate(prompt, stream=True, **settings):
        click.echo(piece, nl=False)
        sys.stdout.flush()
    click.echo()


def _compare(model: Model, texts: list[str], as_json: bool) -> None:
    from compiler.cli.output import emit, table

    vectors = model.embed(texts, normalize=True)
    if as_json:
        emit({"texts": texts, "vectors": vectors.tolist()})
        return
    scores = vectors @ vectors[0]
    ranked = sorted(zip(scores.tolist()[1:], texts[1:], strict=True), reverse=True)
    table(("similarity", "text"), [(f"{score:.3f}", text) for score, text in ranked], f"To: {texts[0]}")


def _stdin() -> str:
    text = "" if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    if not text:
        raise UsageError("nothing to run", found="no text", expected="TEXT, or text on standard input")
    return text

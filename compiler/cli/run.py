"""`compile run`: use a bundle from the shell."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compiler.cli import options
from compiler.errors import UsageError

if TYPE_CHECKING:
    from compiler.cli.understanding import Shown
    from compiler.runtime import Model

ASKING = frozenset(
    {"question", "pair", "query", "aggregation", "prompt_name"}
)  # options that mean nothing to other tasks


class _Command(click.Command):
    """With an answer to options that are called so elsewhere."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if advice := _hint(error.option_name, {each.name or "": each.opts[0] for each in self.params}):
                raise click.UsageError(f"No such option '{error.option_name}': {advice}", ctx) from error
            raise


@click.command(cls=_Command, short_help="Text through a bundle: generate, classify, answer, compare.")
@click.argument("bundle", type=options.FOLDER)
@click.argument("text", nargs=-1)
@click.option(
    "--prompt", help="One text to go on from (-: standard input), or what to put in front of each TEXT to embed."
)
@click.option("--prompt-name", metavar="NAME", help="One of the checkpoint's prompts, to put in front of each TEXT.")
@click.option("--chat", is_flag=True, help="Put the prompt into the model's chat template.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Stop after this many tokens.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 takes the most likely token every time.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), help="Sample from this share of probability.")
@click.option("--top-k", type=click.IntRange(min=1), help="Sample from this many tokens, or give this many answers.")
@click.option("--min-p", type=click.FloatRange(0, 1), help="Sample from tokens this likely, beside the likeliest.")
@click.option("--seed", type=int, help="Random seed: the same one draws the same answer.")
@click.option("--beams", type=click.IntRange(min=1), help="Search with this many hypotheses; not streamed.")
@click.option("--repetition-penalty", type=click.FloatRange(0, min_open=True), help="Above 1: repeat less.")
@click.option(
    "--no-repeat-ngram",
    "no_repeat_ngram_size",
    type=click.IntRange(min=1),
    help="Never repeat so many tokens in a row.",
)
@click.option("--guidance-scale", type=float, help="Above 1: keep closer to the prompt. Takes a second cache.")
@click.option("--negative-prompt", metavar="TEXT", help="With --guidance-scale: the text to be led away from.")
@click.option("--stop", multiple=True, help="Stop before this text. Repeatable.")
@click.option("--question", help="What to answer from the text.")
@click.option("--pair", help="The second text of a pair, to classify with each TEXT.")
@click.option("--query", help="Rank each TEXT for this, by a model that judges pairs, or by similarity.")
@click.option(
    "--aggregation",
    type=click.Choice(["none", "simple", "first", "average", "max"]),
    help="How tokens become entities.  [default: simple]",
)
@click.option("--adapter", metavar="NAME", help="One of the bundle's adapters.  [default: none]")
@click.option("--threads", type=click.IntRange(min=1), help="[default: every physical core]")
@click.option("--no-verify", is_flag=True, help="Start faster: do not compare the files with their digests.")
@click.option("--digest", metavar="sha256:...", help="Refuse BUNDLE if its digest is another than `build` printed.")
@options.output
def run(
    *,
    bundle: Path,
    text: tuple[str, ...],
    prompt: str | None,
    chat: bool,
    threads: int | None,
    no_verify: bool,
    digest: str | None,
    as_json: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    """Run BUNDLE on text: generate (streamed to stdout), or classify, embed, answer or rank, by its task.

    TEXT is one or more texts, by default the lines of standard input, each of which is a text. Each is answered: a
    single answer is streamed, several have an empty line between them, and --json keeps them apart. With --prompt -
    all of standard input is one prompt to go on from. An encoder of token vectors ranks texts by similarity to the
    first, or to --query, with the prompts that the checkpoint has for queries and documents. For multiple choice, the
    first is the prompt and the others are the choices.

    \b
    Examples:
      compile run artifacts/llm --prompt "The capital of France is" --max-new-tokens 20
      compile run artifacts/llm --prompt - < letter.txt
      compile run artifacts/llm --json < questions.txt
      echo "Why is the sky blue?" | compile run artifacts/llm --chat --temperature 0.7 --seed 1
      compile run artifacts/encoder "a cat" "a kitten" "a car"
      compile run artifacts/encoder --json < sentences.txt
      compile run artifacts/encoder --query "who tells stories?" "an old sailor" "a cat"
      compile run artifacts/bert "The capital of France is [MASK]."
      compile run artifacts/sentiment "What a day!" --top-k 2
      compile run artifacts/reranker --query "a cat" "a kitten" "a car"
      compile run artifacts/ner "Ada was born in London." --aggregation first
      compile run artifacts/squad --question "Where was Ada born?" "Ada was born in London."
      compile run artifacts/choice "It rained, so" "she took an umbrella." "she was a stone."
    """
    from compiler import bundle as bundles
    from compiler.cli.understanding import WAYS

    task = bundles.read(bundle, digest).task
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    way = WAYS.get(task)
    if way:
        asked = {name for name, value in (("prompt", prompt), ("chat", chat or None)) if value is not None}
        _refuse(task, (asked | set(given)) - set(way.options))
        if prompt is not None:
            given["prompt"] = prompt
        texts = list(text) or _stdin().splitlines()
        with _load(bundle, no_verify, digest, threads) as model:
            _show(way.run(model, texts, **given), as_json)
    else:
        _refuse(task, ASKING & set(given))
        prompts = _prompts(text, prompt)
        with _load(bundle, no_verify, digest, threads) as model:
            _generate(
                model, [[{"role": "user", "content": each}] if chat else each for each in prompts], given, as_json
            )


def _hint(option: str, known: Mapping[str, str]) -> str:
    """What to do about an option that is an argument of `generate`, here or elsewhere; `known`: options by argument."""
    from compiler.runtime.foreign import OURS, hint
    from compiler.runtime.options import Arguments

    name = option.lstrip("-").replace("-", "_")
    ours = name if name in Arguments.__annotations__ else OURS.get(name, ("",))[0]
    if ours and ours not in known:
        return f"give {ours} to generate() in Python"
    return f"write {known[ours]}" if ours == name else hint(name, known.__getitem__)


def _refuse(task: str, strange: Set[str]) -> None:
    if strange:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(strange))
        raise UsageError(f"{names}: not for a bundle for {task}", action="leave it out")


def _load(bundle: Path, no_verify: bool, digest: str | None, threads: int | None) -> Model:
    """The model; what `load` warns of is one line each on stderr."""
    from compiler import runtime

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        model = runtime.load(bundle, verify=not no_verify, digest=digest, threads=threads)
    for each in said:
        unverified = issubclass(each.category, runtime.UnverifiedWarning)
        click.echo(f"{bundle}: not compared with its digests" if unverified else f"warning: {each.message}", err=True)
    return model


def _prompts(text: tuple[str, ...], prompt: str | None) -> list[str]:
    """What to go on from: each TEXT or line of standard input, or the one of --prompt."""
    if prompt is None:
        return list(text) or _stdin().splitlines()
    if text:
        raise UsageError("--prompt and TEXT exclude each other", action="give all of them as TEXT, or one as --prompt")
    return [_stdin() if prompt == "-" else prompt]


def _generate(model: Model, prompts: list[Any], settings: dict[str, Any], as_json: bool) -> None:
    from compiler.cli.output import emit

    if len(prompts) > 1:
        answers: list[str] = model.generate(prompts, **settings)
        if as_json:
            pairs = zip(prompts, answers, strict=True)
            emit({"answers": [{"prompt": prompt, "text": answer} for prompt, answer in pairs]})
        else:
            click.echo("\n\n".join(answers))
        return
    (prompt,) = prompts
    if as_json:
        emit({"prompt": prompt, "text": model.generate(prompt, **settings)})
        return
    if model.searches(**settings):
        click.echo(model.generate(prompt, **settings))
        return
    for piece in model.generate(prompt, stream=True, **settings):
        click.echo(piece, nl=False)
        sys.stdout.flush()
    click.echo()


def _show(shown: Shown, as_json: bool) -> None:
    from compiler.cli.output import emit, table

    if as_json:
        emit(shown.value)
    else:
        table(shown.header, shown.rows, shown.title)


def _stdin() -> str:
    text = "" if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    if not text:
        raise UsageError("nothing to run", found="no text", expected="TEXT, or text on standard input")
    return text

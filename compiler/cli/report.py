"""`compile report`: what was found about bundles, as a page, for a pull request, for a build server or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from compiler.cli import options

FORMATS = {".html": "html", ".htm": "html", ".md": "markdown", ".xml": "junit", ".json": "json"}


@click.command(short_help="Certificates as a page, Markdown, JUnit XML or JSON.")
@click.argument("inputs", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="BUNDLE...")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: stdout]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown", "junit", "json"]),
    help="[default: by the file's ending; html on stdout]",
)
@click.option("--include-texts", is_flag=True, help="Show answers and texts of your data that the inputs hold.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of --format json.")
@options.output
def report(
    inputs: tuple[Path, ...],
    *,
    out: Path | None,
    form: str | None,
    include_texts: bool,
    schema: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Report on BUNDLEs: folders, or certificate.json files; the first is what others are compared with.

    Results of `compile eval`, `compile compare` and `compile check --bisect --json` may be given beside them.
    A written report ends with 0, whatever the verdicts in it: `compare` and `check` have the exit codes of a gate.

    \b
    Examples:
      compile report artifacts/model -o report.html
      compile report artifacts/before artifacts/after --format markdown
      compile check artifacts/model --bisect --json > layers.json; compile report artifacts/model layers.json -o r.html
    """
    from compiler.cli.files import prepare
    from compiler.cli.output import emit
    from compiler.errors import UsageError
    from compiler.records import schema as schema_of
    from compiler.records.document import Report
    from compiler.report.failures import found_beside
    from compiler.report.inputs import read
    from compiler.storage import write_result

    if schema:
        emit(schema_of(Report))
        return
    if not inputs:
        raise UsageError("nothing to report on", expected="a bundle or its certificate.json", action="name one")
    chosen = form or (_format_of(out) if out else "json" if as_json else "html")
    if as_json and out is None and chosen != "json":
        raise UsageError("--json prints the report as JSON", found=f"--format {chosen}", action="name a file with -o")
    if out is not None:
        prepare(out, inputs)
    made = read(inputs, include_texts=include_texts)
    text = _writer(chosen)(made)
    if out is None:
        click.echo(text, nl=False)
        return
    write_result(out, text.encode())
    verdicts = {entry.name: entry.certificate.verdict for entry in made.entries}
    failures = found_beside(made)
    if as_json:
        emit({"report": out, "format": chosen, "verdicts": verdicts, "failures": failures})
    else:
        said = ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items())
        click.echo(f"{out}: {'; '.join([said, *failures])}")


def _format_of(out: Path) -> str:
    from compiler.cli.files import require_ending

    return FORMATS[require_ending(out, FORMATS, "choose the format with --format")]


def _writer(form: str) -> Callable[..., str]:
    from compiler import records, report

    writers: dict[str, Callable[..., str]] = {
        "html": report.html,
        "markdown": report.markdown,
        "junit": report.junit,
        "json": lambda made: records.encode(made).decode(),
    }
    return writers[form]

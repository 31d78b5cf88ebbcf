"""What the documents say of commands, files, exit codes and each other is so."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import click
import pytest

from compiler import errors
from compiler.cli import main
from tests.conftest import ROOT

LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
    check=True, capture_output=True, text=True, cwd=ROOT,
).stdout.split()  # fmt: skip
DOCUMENTS = [name for name in LISTED if (ROOT / name).is_file()]
LONGEST_README = 150


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    """Without fenced blocks and code spans."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^```.*?^```", "", text(document), flags=re.MULTILINE | re.DOTALL))


def commands(document: str) -> list[list[str]]:
    """The words of every `compile ...` command in the fenced blocks of a document."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text(document), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.search(r"(?:^|\| )compile (.*)", line) for line in lines]
    return [shlex.split(match[1].split(" > ")[0], comments=True) for match in found if match]


def anchors(page: str) -> set[str]:
    """The fragments by which GitHub links to the headings of a page."""
    seen: Counter[str] = Counter()
    result = set()
    outside = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", outside, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        result.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return result


def broken_links(document: Path) -> list[str]:
    """Relative links of a page to a file or heading that is not there."""
    page = document.read_text(encoding="utf-8")
    outside = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", outside):
        path, _, fragment = target.partition("#")
        file = document.parent / path if path else document
        if not file.exists() or (fragment and fragment not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


def test_commands_exist() -> None:
    """Every word and option of every documented command line is one that the program takes."""
    shown = [(document, words) for document in DOCUMENTS for words in commands(document)]
    assert len(shown) > 40
    for document, words in shown:
        context = click.Context(main)
        found: click.Command = main
        rest = list(words)
        while isinstance(found, click.Group) and rest and not rest[0].startswith("-"):
            name, sub, rest = found.resolve_command(context, rest)
            assert sub is not None
            context, found = click.Context(sub, info_name=name, parent=context), sub
        known = {flag for option in found.get_params(context) for flag in (*option.opts, *option.secondary_opts)}
        used = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert used <= known, f"{document}: compile {shlex.join(words)}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    assert broken_links(ROOT / document) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `word`, two\n## Twice\n## Twice\n"
        "[a](#one-word-two) [b](#twice-1) [c](#twice-2) [d](page.md#twice) [e](none.md) [f](https://a.example/none)\n"
        "```\n[g](none.md)\n# [h](none.md)\n```\n"
    )
    assert broken_links(page) == ["#twice-2", "none.md"]


def test_the_readme_is_short_and_links_every_page() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) <= LONGEST_README
    linked = set(re.findall(r"\]\(([^)#]+)", prose("README.md")))
    assert {name for name in DOCUMENTS if name.startswith("docs/")} <= linked
    assert {"CONTRIBUTING.md", "CHANGELOG.md"} <= linked


def test_the_tree_is_the_tree() -> None:
    """Every file of the package that the tree names exists, and every part of the package is in the tree."""
    tree = re.search(r"^```text\n(compiler/\n.*?)^```", text("docs/architecture.md"), re.MULTILINE | re.DOTALL)
    assert tree is not None
    named = {match[1].rstrip("/") for match in re.finditer(r"^ {4}(\S+)", tree[1], re.MULTILINE)}
    real = {
        path.name for path in (ROOT / "compiler").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named == real - {"__main__.py"}


def test_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \|(.*)\|$", text("docs/commands.md"), re.MULTILINE)
    documented = {(name, int(code)) for code, names in rows for name in re.findall(r"`(\w+)`", names)}
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    kinds = [each for each in classes if issubclass(each, errors.CompilerError)]
    assert documented == {(kind.__name__, kind.exit_code) for kind in kinds}
    assert [int(code) for code, _ in rows] == [0, *sorted({kind.exit_code for kind in kinds}), 130]

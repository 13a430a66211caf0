"""MkDocs hook: the page ``cli.md``, generated from the argument parsers of ``fetaliqa`` and of the server.

``python tools/docs/cli_reference.py`` prints the page.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[2]
USAGE_COLUMNS = "100"
DEFAULT = re.compile(r"\s*\(default:? ([^()]*)\)")
INTRODUCTION = """# Command line

Generated from the argument parsers; `fetaliqa VERB --help` prints the same. All commands end with the exit codes
0 (done), 1 (checked, problems found), 2 (bad input, with one sentence on stderr) and 130 (interrupted).
Frames and sweeps are counted from 0.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "cli.md", content=page()))
    return files


def page() -> str:
    """Return the page in Markdown."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from fetaliqa.cli.main import build_parser
    from monailabel_app.serve import build_parser as build_server_parser

    with mock.patch.dict(os.environ, COLUMNS=USAGE_COLUMNS):
        os.environ.pop("FETALIQA_DEFAULT_MODEL", None)
        return _page(build_parser(), build_server_parser())


def _page(parser: argparse.ArgumentParser, server: argparse.ArgumentParser) -> str:
    verbs = _commands(parser)
    overview = ["| command | purpose |", "|---|---|"]
    overview += [f"| [`{sub.prog}`](#{_anchor(sub.prog)}) | {_text(sub.description)} |" for sub in verbs]
    sections = [section for sub in (*verbs, server) for section in _sections(sub, level=2)]
    return "\n\n".join([INTRODUCTION, "\n".join(overview), *sections]) + "\n"


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found: dict[int, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update({id(sub): sub for sub in action.choices.values()})  # an alias is the same parser
    return list(found.values())


def _sections(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{parser.prog}` {{#{_anchor(parser.prog)}}}"
    if parser.description:
        yield _text(parser.description)
    usage = re.sub(r"\n {7}", "\n", parser.format_usage().removeprefix("usage: ").rstrip())
    yield f"```text\n{usage}\n```"
    actions = [action for group in parser._action_groups for action in group._group_actions]
    rows = [_row(parser, action) for action in actions if _shown(action)]
    if rows:
        yield "\n".join(["| argument | meaning | default |", "|---|---|---|", *rows])
    if parser.epilog:
        yield _text(parser.epilog)
    for sub in _commands(parser):
        yield from _sections(sub, min(level + 1, 4))


def _shown(action: argparse.Action) -> bool:
    hidden = (argparse._SubParsersAction, argparse._HelpAction, argparse._VersionAction)
    return action.help is not argparse.SUPPRESS and not isinstance(action, hidden)


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    if action.option_strings:
        metavar = formatter._get_default_metavar_for_optional(action)
        value = "" if action.nargs == 0 else f" {formatter._format_args(action, metavar)}"
        name = ", ".join(f"`{option}{value}`" for option in action.option_strings)
    else:
        metavar = formatter._get_default_metavar_for_positional(action)
        name = f"`{formatter._format_args(action, metavar)}`"
    meaning = formatter._expand_help(action) if action.help else ""
    default = "" if action.default in (None, False, True, [], "", argparse.SUPPRESS) else f"`{action.default}`"
    if told := DEFAULT.search(meaning):
        meaning, default = meaning.replace(told[0], ""), _text(told[1])
    if action.required and action.option_strings:
        default = "required"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (name, _text(meaning), default)) + " |"


def _text(text: str | None) -> str:
    plain = " ".join((text or "").split())
    plain = re.sub(r"([<>*_\[\]])", r"\\\1", plain)
    return re.sub(r"docs/([a-z-]+)\.md", r"[\1](\1.md)", plain)


def _anchor(program: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", program.lower()).strip("-")


if __name__ == "__main__":
    sys.stdout.write(page())

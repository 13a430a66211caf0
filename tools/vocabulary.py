"""Checks words of pages, help and messages against ``tools/vocabulary.toml``; ends with 1 if it finds any."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parents[1]
QUOTED = re.compile(r"^```.*?^```|^ {4}(?![-*] )[^\n]*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)  # code and output


def check(root: Path, settings: dict[str, Any]) -> Iterator[str]:
    """Yield ``file:line: "what is written": say what to say`` for each word that is to be avoided."""
    texts: dict[str, list[tuple[str, int, str]]] = {}
    for rule in settings["rules"]:
        pattern = re.compile(rule["avoid"].replace(" ", r"\s+"), re.IGNORECASE)
        for scope in rule["scopes"]:
            if scope not in texts:
                texts[scope] = list(_texts(root, scope, settings["scopes"]))
            for name, first, text in texts[scope]:
                for match in pattern.finditer(text):
                    line = first + text.count("\n", 0, match.start())
                    yield f'{name}:{line}: "{" ".join(match.group().split())}": say {rule["say"]}'


def _texts(root: Path, scope: str, scopes: dict[str, list[str]]) -> Iterator[tuple[str, int, str]]:
    """Yield name, line and text of all that a scope holds."""
    if scope == "cli":
        sys.path.insert(0, str(ROOT / "tools/docs"))
        from cli_reference import page

        yield "help of the command line", 1, page()
        return
    excluded = {path for pattern in scopes["exclude"] for path in root.glob(pattern)}
    for path in sorted({path for pattern in scopes[scope] for path in root.glob(pattern)} - excluded):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            yield from ((str(path.relative_to(root)), *message) for message in _messages(text))
        else:
            yield str(path.relative_to(root)), 1, QUOTED.sub(lambda code: re.sub(r"[^\n]", "\0", code[0]), text)


def _messages(source: str) -> Iterator[tuple[int, str]]:
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


if __name__ == "__main__":
    problems = list(check(ROOT, tomllib.loads((ROOT / "tools/vocabulary.toml").read_text(encoding="utf-8"))))
    raise SystemExit("\n".join(problems) if problems else 0)

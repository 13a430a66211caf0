"""Checks the words of documentation, command-line help and messages against ``tools/vocabulary.toml``.

``python tools/vocabulary.py`` prints ``file:line: "what is written": say what to say``, and ends with exit code 1.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Check the whole repository."""
    settings = tomllib.loads((ROOT / "tools/vocabulary.toml").read_text(encoding="utf-8"))
    problems = list(check(ROOT, settings))
    for problem in problems:
        print(problem)  # noqa: T201
    return 1 if problems else 0


def check(root: Path, settings: dict[str, Any]) -> Iterator[str]:
    """Yield one sentence for each word that is to be avoided."""
    for scope in sorted({scope for rule in settings["rules"] for scope in rule["scopes"]}):
        rules = [
            (re.compile(rule["avoid"].replace(" ", r"\s+"), re.I), rule["say"])
            for rule in settings["rules"]
            if scope in rule["scopes"]
        ]
        for place, text in _texts(root, scope, settings["scopes"]):
            for pattern, say in rules:
                for match in pattern.finditer(text):
                    line = text.count("\n", 0, match.start()) + 1
                    yield f'{place.format(line=line)}: "{" ".join(match.group().split())}": say {say}'


def _texts(root: Path, scope: str, scopes: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield (where, text) of a scope; ``{line}`` in the first stands for the line of the text."""
    if scope == "cli":
        sys.path.insert(0, str(ROOT / "tools/docs"))
        from cli_reference import page

        yield "help of the command line:{line}", page()
        return
    excluded = {path for pattern in scopes["exclude"] for path in root.glob(pattern)}
    for path in sorted({path for pattern in scopes[scope] for path in root.glob(pattern)} - excluded):
        name, text = path.relative_to(root), path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            yield from ((f"{name}:{line}", message) for line, message in _messages(text))
        else:
            yield f"{name}:{{line}}", text


def _messages(source: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


if __name__ == "__main__":
    raise SystemExit(main())

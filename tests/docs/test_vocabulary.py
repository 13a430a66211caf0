"""Words that are not to be used are found in pages, in help and in messages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

import vocabulary  # noqa: E402


def settings(scope: str, avoid: str = "picture quality", exclude: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "scopes": {"docs": ["*.md"], "messages": ["*.py"], "exclude": list(exclude)},
        "rules": [{"avoid": avoid, "say": "image quality", "scopes": [scope]}],
    }


def test_a_word_in_a_page_is_named_with_its_line_also_across_lines(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Page\n\nThe Picture\nquality is good.\n")

    assert list(vocabulary.check(tmp_path, settings("docs"))) == [
        'page.md:3: "Picture quality": say image quality'
    ]


def test_an_excluded_page_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("picture quality")

    assert list(vocabulary.check(tmp_path, settings("docs", exclude=("page.md",)))) == []


def test_messages_are_checked_and_docstrings_are_not(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(
        '"""Picture quality."""\n\nraise ValueError(f"{1}: picture quality is low")\n'
    )

    assert list(vocabulary.check(tmp_path, settings("messages"))) == [
        'code.py:3: "picture quality": say image quality'
    ]


def test_the_help_of_all_commands_is_checked(tmp_path: Path) -> None:
    assert list(vocabulary.check(tmp_path, settings("cli", avoid="exit codes"))) != []
    assert list(vocabulary.check(tmp_path, settings("cli", avoid="no such words anywhere"))) == []


def test_every_rule_of_the_project_has_a_scope_and_a_replacement() -> None:
    rules = tomllib.loads((REPOSITORY / "tools/vocabulary.toml").read_text(encoding="utf-8"))["rules"]

    assert rules
    for rule in rules:
        assert rule["say"]
        assert set(rule["scopes"]) <= {"docs", "cli", "messages"}
        assert rule["scopes"]


def test_code_and_output_in_a_page_are_quotations(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("`picture quality`\n\n    picture quality\n\n```\npicture quality\n```\n")

    assert list(vocabulary.check(tmp_path, settings("docs"))) == []

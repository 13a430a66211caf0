"""Examples in the documentation and in docstrings do what they say; the README is short."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<skip><!-- not run: .*? -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
README_WORDS = 900


def examples() -> list[object]:
    """All ``python`` blocks of a page are one program; ``<!-- not run: REASON -->`` before one leaves it out."""
    programs = {}
    for page in PAGES:
        blocks = [match["code"] for match in BLOCK.finditer(page.read_text(encoding="utf-8")) if not match["skip"]]
        if blocks:
            programs[page.relative_to(REPOSITORY).as_posix()] = "\n".join(blocks)
    return [pytest.param(code, id=name) for name, code in programs.items()]


def modules_with_doctests() -> list[str]:
    paths = sorted((REPOSITORY / "fetaliqa").rglob("*.py"))
    having = [path for path in paths if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)]
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in having]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("code", examples())
def test_the_python_examples_of_a_page_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample-data").symlink_to(REPOSITORY / "sample-data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FETALIQA_DEFAULT_MODEL", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    exec(compile(code, "example", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", modules_with_doctests())
def test_the_examples_in_docstrings_of_a_module_hold(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)  # they read sample-data/
    monkeypatch.delenv("FETALIQA_DEFAULT_MODEL", raising=False)

    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)

    assert result.attempted
    assert not result.failed


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


def test_links_of_the_readme_lead_to_files() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    missing = [target for target in targets if "://" not in target and not (REPOSITORY / target).exists()]

    assert targets
    assert missing == []


def test_files_that_pages_name_exist() -> None:
    named = re.compile(
        r"`((?:fetaliqa|monailabel_app|slicer_module|tests|benchmarks|tools|docs|sample-data)/[\w./-]*(?:\.\w+|/))`"
    )
    missing = [
        (page.relative_to(REPOSITORY).as_posix(), path)
        for page in PAGES
        for path in named.findall(page.read_text(encoding="utf-8"))
        if not (REPOSITORY / path).exists()
    ]

    assert missing == []

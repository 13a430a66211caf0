"""Pages of the documentation: examples are run, files that they name exist, the README is short.

Examples of the Python API, in pages and docstrings, run in ``tests/test_documentation_examples.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<skip><!-- not run: .*? -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
README_WORDS = 900


def test_every_python_example_is_run_or_says_why_not() -> None:
    """``<!-- not run: REASON -->`` stands before an example that needs more than the repository."""
    unmarked = {
        page.relative_to(REPOSITORY).as_posix()
        for page in PAGES
        for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if not match["skip"]
    }

    assert unmarked == {"README.md", "docs/python-api.md"}


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

"""Pages of the documentation: examples are run, files that they name exist, the README is short.

Examples of the Python API, in pages and docstrings, run in ``tests/test_documentation_examples.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
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

    assert unmarked == {"README.md", "docs/interactive.md", "docs/python-api.md"}


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


def test_the_first_command_prints_what_the_readme_and_the_quickstart_show(tmp_path: Path) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    quickstart = (REPOSITORY / "docs/quickstart.md").read_text(encoding="utf-8")
    command, shown = re.findall(r"^    \$ fetaliqa (best [^\n]+)\n((?:    [^\n]+\n)+)", readme, re.MULTILINE)[0]
    (tmp_path / "sample-data").symlink_to(REPOSITORY / "sample-data")
    environment = {name: value for name, value in os.environ.items() if name != "FETALIQA_DEFAULT_MODEL"}

    done = subprocess.run(
        [sys.executable, "-m", "fetaliqa", *command.split(), "--device", "cpu", "--quiet"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.stdout == re.sub(r"^    ", "", shown, flags=re.MULTILINE)
    assert done.stdout in quickstart
    assert (tmp_path / done.stdout.splitlines()[-1].strip()).is_file()

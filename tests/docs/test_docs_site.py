"""The tools that make the documentation site: links, generated pages, nothing from other hosts."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fetaliqa.cli.main import VERBS

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools/docs"))

import cli_reference  # noqa: E402
import local_assets  # noqa: E402
import repository_links  # noqa: E402


@pytest.mark.parametrize(
    ("page", "written", "on_the_site"),
    [
        ("index.md", "[c](../CHANGELOG.md)", "[c](changelog.md)"),
        ("decisions/0001-frame-record.md", "[s](../server.md#labels)", "[s](../server.md#labels)"),
        ("decisions/index.md", "[a](../../sample-data/ATTRIBUTION.md)", "[a](../attribution.md)"),
        ("contributing.md", "[x](docs/data.md#splits)", "[x](data.md#splits)"),
        ("results.md", "[x](../docs/training.md)", "[x](training.md)"),
        ("training.md", "[`recipe.py`](../pyproject.toml)", "`recipe.py`"),
        (
            "index.md",
            "[w](https://example.org/a.md) and [h](#here)",
            "[w](https://example.org/a.md) and [h](#here)",
        ),
        ("index.md", "```\n[c](../CHANGELOG.md)\n```", "```\n[c](../CHANGELOG.md)\n```"),
    ],
)
def test_a_link_of_the_repository_becomes_one_of_the_site(page: str, written: str, on_the_site: str) -> None:
    assert repository_links.rewrite(written, page) == on_the_site


def test_a_link_to_a_file_that_is_missing_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        repository_links.rewrite("[gone](../benchmarks/gone.py)", "training.md")

    assert "benchmarks/gone.py" in caplog.text


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example/mermaid.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css?family=Roboto">',
        "<img alt='x' src='http://example.org/picture.png'>",
        "<style>@import url(https://fonts.example/css);</style>",
    ],
)
def test_what_a_page_would_load_from_another_host_is_named(page: str) -> None:
    assert len(local_assets.loaded(page)) == 1


def test_links_that_a_reader_follows_are_no_loaded_assets() -> None:
    assert (
        local_assets.loaded('<a href="https://example.org">x</a><img src="images/a.png"><script src="a.js">') == []
    )


def test_the_command_reference_has_every_command_and_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETALIQA_DEFAULT_MODEL", "another")
    page = cli_reference.page()

    for verb in VERBS:
        assert f"## `fetaliqa {verb}` {{#fetaliqa-{verb}}}" in page
    assert "## `python -m monailabel_app.serve`" in page
    assert "### `fetaliqa models publish`" in page, "commands of commands are there too"
    assert "another" not in page, "defaults are not those of the machine that builds the site"
    assert str(Path.home()) not in page
    assert os.environ["FETALIQA_DEFAULT_MODEL"] == "another"


def test_every_page_of_the_repository_that_the_site_shows_exists() -> None:
    missing = [path for path in repository_links.OUTSIDE if not (REPOSITORY / path).is_file()]

    assert missing == []


def test_the_strict_build_refuses_a_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Page\n\n[broken](gone.md)\n")
    settings = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    hooks = f"hooks:\n  - {REPOSITORY / 'tools/docs/local_assets.py'}\n"
    kept = settings[settings.index("validation:") : settings.index("not_in_nav:")]
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nstrict: true\n{hooks}{kept}")

    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-d", str(tmp_path / "site")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 1
    assert "gone.md" in built.stderr

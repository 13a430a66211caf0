"""MkDocs hook: pages that lie outside of ``docs/``, and links between ``docs/`` and the rest of the repository.

Pages of the repository's root (changelog, contributing, results, ...) become pages of the site. Links are written
so that they work on the repository host; here they are turned into links of the site. A link to a file that is not
part of the site, such as source code, becomes its text. A link to a missing file is a warning, which the
strict build refuses.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LOG = logging.getLogger("mkdocs.hooks.repository_links")
#: path in the repository -> path in the site
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "SECURITY.md": "security.md",
    "sample-data/ATTRIBUTION.md": "attribution.md",
    **{f"benchmarks/{path.name}": path.name.lower() for path in sorted((ROOT / "benchmarks").glob("RESULTS*.md"))},
}
SITE_TO_REPOSITORY = {site: repository for repository, site in OUTSIDE.items()}
LINK = re.compile(
    r"(?<!!)\[(?P<text>[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)"
)
FENCE = re.compile(r"^(?:```.*?^```|~~~.*?^~~~)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of ``docs/``."""
    from mkdocs.structure.files import File

    for repository, site in OUTSIDE.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / repository)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site."""
    return rewrite(markdown, page.file.src_uri)


def rewrite(markdown: str, site_path: str) -> str:
    """Return the page ``site_path`` with its links turned into links of the site; code blocks stay as they are."""
    parts, end = [], 0
    for block in FENCE.finditer(markdown):
        parts += [_links(markdown[end : block.start()], site_path), block.group()]
        end = block.end()
    return "".join([*parts, _links(markdown[end:], site_path)])


def _links(text: str, site_path: str) -> str:
    source = SITE_TO_REPOSITORY.get(site_path, f"docs/{site_path}")

    def replaced(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        if "://" in target or target.startswith(("/", "mailto:")):
            return match.group()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in OUTSIDE:
            site_target = OUTSIDE[path]
        elif path.startswith("docs/"):
            site_target = path.removeprefix("docs/")
        elif (ROOT / path).exists():
            return match["text"]
        else:
            LOG.warning("%s: link to %s, which does not exist", source, path)
            return match.group()
        return f"[{match['text']}]({posixpath.relpath(site_target, posixpath.dirname(site_path) or '.')}{anchor})"

    return LINK.sub(replaced, text)

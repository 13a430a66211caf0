"""MkDocs hook: no page of the site loads anything from another host. Links that a reader follows are allowed."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

LOG = logging.getLogger("mkdocs.hooks.local_assets")
ADDRESS = r"""\s*["']?((?:https?:)?//[^"'\s>)]+)"""
LOADED = re.compile(
    rf"<(?:script|link|img|iframe|source|video|audio|embed|object)\b[^>]*?\s(?:src|href|srcset|data)\s*={ADDRESS}",
    re.I,
)
STYLE = re.compile(rf"(?:url\(|@import\s){ADDRESS}", re.I)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn of every address that a page would load from; the strict build refuses warnings."""
    for address in loaded(output):
        LOG.warning("%s would load %s; put a copy into docs/", page.file.src_uri, address)
    return output


def loaded(page: str) -> list[str]:
    """Return the addresses on other hosts from which an HTML page loads scripts, styles, fonts or images."""
    styles = re.findall(r"<style\b[^>]*>(.*?)</style>", page, re.I | re.S)
    return LOADED.findall(page) + [address for style in styles for address in STYLE.findall(style)]

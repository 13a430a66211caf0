"""Draws docs/images/architecture.svg from the import contract in pyproject.toml and the packages' docstrings.

Run as ``python tools/docs/architecture_picture.py``; with ``--check`` nothing is written and the exit code says
whether the picture is up to date.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from html import escape
from pathlib import Path

import tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = REPOSITORY / "docs" / "images" / "architecture.svg"
FLOORS = {"fetaliqa.retraining": "workbench", "fetaliqa.evaluation": "core", "fetaliqa.lab": "lab"}
WIDTH, MARGIN, GAP, LINE = 960, 110, 12, 15
TEXT = 'font-family="sans-serif" font-size="12"'


def summary(package: str) -> str:
    """First line of a package's docstring."""
    folder = REPOSITORY.joinpath(*package.split("."))
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].replace("``", "")


def layers() -> list[list[str]]:
    """Rooms from the highest layer to the lowest, as the import contract has them."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    return [[room.strip() for room in layer.replace(":", "|").split("|")] for layer in contract["layers"]]


def svg() -> str:
    """The picture: one row a layer, one box a room, arrows downwards."""
    parts, y, floor = [], 10, ""
    rows = layers()
    for rooms in rows:
        utilities = len(rooms) > 4
        if utilities:
            rooms = [", ".join(sorted(room.removeprefix("fetaliqa.") for room in rooms))]
        width = (WIDTH - MARGIN - GAP * len(rooms)) / len(rooms)
        bodies = [
            textwrap.wrap("errors, atomic writes, hashes, names" if utilities else summary(room), int(width / 6.4))
            for room in rooms
        ]
        height = 26 + LINE * max(len(body) for body in bodies)
        name = FLOORS.get(rooms[0].split(" ")[0], "utilities" if utilities else "")
        if name and name != floor:
            floor = name
            parts.append(f'<text x="8" y="{y + 17}" {TEXT} font-weight="bold" fill="#555">{name}</text>')
        for number, (room, body) in enumerate(zip(rooms, bodies)):
            x = MARGIN + number * (width + GAP)
            parts.append(
                f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{height}" rx="4" '
                'fill="#eef3f8" stroke="#456"/>'
            )
            title = escape(room.removeprefix("fetaliqa.") if not room.startswith("monailabel") else room)
            parts.append(
                f'<text x="{x + 8:.0f}" y="{y + 17}" {TEXT} font-weight="bold" fill="#123">{title}</text>'
            )
            for line, words in enumerate(body):
                at = y + 17 + LINE * (line + 1)
                parts.append(f'<text x="{x + 8:.0f}" y="{at}" {TEXT} fill="#234">{escape(words)}</text>')
        y += height + 18
        if rooms is not rows[-1] and not utilities:
            middle = MARGIN + (WIDTH - MARGIN) / 2
            parts.append(
                f'<path d="M{middle:.0f} {y - 17} V{y - 5} m-4 -5 l4 5 l4 -5" fill="none" stroke="#456"/>'
            )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def main() -> int:
    """Write the picture, or compare it with what is written."""
    picture = svg()
    if "--check" in sys.argv[1:]:
        return int(not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != picture)
    PICTURE.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

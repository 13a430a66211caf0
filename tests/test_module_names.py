import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("folders", [("fetaliqa", "monailabel_app/lib"), ("slicer_module",)], ids="/".join)
def test_no_two_modules_share_a_name(folders: tuple[str, ...]) -> None:
    modules = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    modules = [path for path in modules if path.name not in ("__init__.py", "__main__.py")]
    # a module of the command line has the name of its command
    names = Counter(path.stem for path in modules if path.parent != REPOSITORY / "fetaliqa" / "cli")
    assert len(names) > 30
    assert [name for name, count in names.items() if count > 1] == []


def test_the_architecture_picture_follows_the_import_contract() -> None:
    script = REPOSITORY / "tools" / "docs" / "architecture_picture.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0


def test_every_file_that_the_architecture_page_names_exists() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:fetaliqa|monailabel_app|slicer_module)/[\w/.]+)`", page)
    paths = [REPOSITORY / name for name in named if "SUBCOMMAND" not in name]
    assert len(paths) > 30
    assert [path for path in paths if not path.exists()] == []

from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("package", ["fetaliqa"])
def test_no_two_modules_share_a_name(package: str) -> None:
    folder = REPOSITORY / package
    modules = [path for path in folder.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    # a module of the command line has the name of its command
    names = Counter(path.stem for path in modules if path.parent != folder / "cli")
    assert [name for name, count in names.items() if count > 1] == []

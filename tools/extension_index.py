"""What 3D Slicer's Extensions Index asks of an extension, checked without a network.

    python tools/extension_index.py                     missing public addresses are listed
    python tools/extension_index.py --public ADDRESS    fill in the addresses of a repository on GitHub
    python tools/extension_index.py --strict            missing public addresses are errors too

The rules are those of the Index's description check and of its schema 1.0.1, written anew. What needs
a network (whether the addresses answer with a picture, whether the repository can be cloned) is left to the Index.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parents[1]
DESCRIPTION = Path("slicer_module") / "FetalIQA.json"
CMAKE = Path("CMakeLists.txt")
ICON = "slicer_module/FetalIQA.png"
SCREENSHOTS = ("docs/images/slicer/panel-frames.png", "docs/images/slicer/overlay.png")
REQUIRED = ("$schema", "category", "scm_url")
TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
VALUES = {"scm_type": ("git", "local"), "tier": (1, 3, 5), "build_subdirectory": (".",)}
CATEGORIES = ("Ultrasound", "Segmentation", "Active Learning")  # of the Index's list, those that fit
LICENCES = ("LICENSE", "LICENCE", "LICENSE.txt", "COPYING", "COPYING.txt")
PLACEHOLDER = ".invalid"  # top-level domain of addresses that are not known yet, RFC 2606


@dataclass(frozen=True)
class Problem:
    """What the Index would refuse.

    Attributes:
        text: one sentence.
        publisher: whether it can only be put right once the repository has a public address.
    """

    text: str
    publisher: bool = False


def problems(root: Path) -> list[Problem]:
    """What the Index would refuse in a repository."""
    try:
        entry = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
        cmake = (root / CMAKE).read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        return [Problem(f"{problem}: the description and a CMakeLists.txt in the root are needed")]
    if not isinstance(entry, dict):
        return [Problem(f"{DESCRIPTION}: an object is needed")]
    found = [*_schema(entry), *_address(entry), *_cmake(cmake, entry, root)]
    if not any((root / name).is_file() for name in LICENCES):
        found.append(Problem(f"no licence in the root; one of {', '.join(LICENCES)} is needed"))
    return found


def _schema(entry: dict) -> list[Problem]:
    found = [Problem(f"{DESCRIPTION}: {key} is missing") for key in REQUIRED if not entry.get(key)]
    for key, value in entry.items():
        if key not in TYPES:
            found.append(Problem(f"{DESCRIPTION}: {key} is not in the schema"))
        elif type(value) is not TYPES[key]:
            found.append(Problem(f"{DESCRIPTION}: {key} is {value!r}; {TYPES[key].__name__} is needed"))
        elif key in VALUES and value not in VALUES[key]:
            found.append(Problem(f"{DESCRIPTION}: {key} is {value!r}; it must be one of {VALUES[key]}"))
    category = entry.get("category")
    if category and category not in CATEGORIES:
        found.append(Problem(f"{DESCRIPTION}: category {category!r} is not one of {', '.join(CATEGORIES)}"))
    return found


def _address(entry: dict) -> list[Problem]:
    parts = urlsplit(str(entry.get("scm_url") or ""))
    if parts.scheme not in ("https", "git") or not parts.hostname:
        return [Problem(f"scm_url {entry.get('scm_url')!r}: https://HOST/PATH or git://HOST/PATH is needed")]
    if parts.hostname.endswith(PLACEHOLDER):
        return [Problem("scm_url is the placeholder; enter the repository's public address", publisher=True)]
    name = Path(parts.path).stem
    return [] if "slicer" in name.lower() else [Problem(f"repository name {name!r}: it must contain Slicer")]


def _cmake(text: str, entry: dict, root: Path) -> list[Problem]:
    found = []
    project = re.search(r"project\s*\(\s*([^\s)]+)", text, re.IGNORECASE)
    if project is None or project.group(1) != DESCRIPTION.stem:
        found.append(Problem(f"{CMAKE}: project() must be {DESCRIPTION.stem}, as the description's file name"))
    for name in ("EXTENSION_CATEGORY", "EXTENSION_CONTRIBUTORS", "EXTENSION_DESCRIPTION", "EXTENSION_DEPENDS"):
        if not setting(text, name):
            found.append(Problem(f"{CMAKE}: {name} is empty"))
    if setting(text, "EXTENSION_CATEGORY") != entry.get("category"):
        found.append(Problem(f"{CMAKE}: EXTENSION_CATEGORY differs from the description's category"))
    for name in ("EXTENSION_HOMEPAGE", "EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        addresses = setting(text, name).split()
        if not addresses:
            found.append(Problem(f"{CMAKE}: {name} is empty", publisher=True))
        for address in addresses:
            parts = urlsplit(address)
            if parts.scheme != "https" or not parts.hostname:
                found.append(Problem(f"{CMAKE}: {name} {address!r}: https://HOST/PATH is needed"))
            elif name != "EXTENSION_HOMEPAGE" and not _is_picture(parts.path, root):
                found.append(Problem(f"{CMAKE}: {name} {address!r} ends with no picture of this repository"))
    return [
        *found,
        *(Problem(f"{path} is missing") for path in (ICON, *SCREENSHOTS) if not (root / path).is_file()),
    ]


def _is_picture(path: str, root: Path) -> bool:
    """Whether an address's path ends with the path of a picture in the repository."""
    parts = path.strip("/").split("/")
    files = (root.joinpath(*parts[start:]) for start in range(len(parts)))
    return path.endswith((".png", ".jpg")) and any(file.is_file() for file in files)


def setting(text: str, name: str) -> str:
    """A quoted value that a CMake file sets; empty if it does not."""
    match = re.search(rf'set\s*\({name}\s+"([^"]*)"\s*\)', text)
    return match.group(1).strip() if match else ""


def fill_in(root: Path, address: str, branch: str = "main") -> None:
    """Write the public addresses into the description and the CMake file.

    Args:
        root: of the repository.
        address: of the repository on GitHub, such as ``https://github.com/OWNER/SlicerFetalIQA``.
        branch: that the pictures are shown from.

    Raises:
        ValueError: if it is not such an address.
    """
    match = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", address)
    if match is None:
        raise ValueError(f"{address!r}: https://github.com/OWNER/NAME is needed; for other hosts edit the files")
    owner, name = match.groups()
    home, raw = f"https://github.com/{owner}/{name}", f"https://raw.githubusercontent.com/{owner}/{name}/{branch}"
    values = {
        "EXTENSION_HOMEPAGE": home,
        "EXTENSION_ICONURL": f"{raw}/{ICON}",
        "EXTENSION_SCREENSHOTURLS": " ".join(f"{raw}/{path}" for path in SCREENSHOTS),
    }
    text = (root / CMAKE).read_text(encoding="utf-8")
    for key, value in values.items():
        text = re.sub(rf'(set\s*\({key}\s+)"[^"]*"', lambda match, value=value: f'{match[1]}"{value}"', text)
    entry = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
    entry.update(scm_url=f"{home}.git", scm_revision=branch)
    (root / CMAKE).write_text(text, encoding="utf-8")
    (root / DESCRIPTION).write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None, root: Path = REPOSITORY) -> int:
    """Check a repository; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", metavar="ADDRESS", help="fill in the addresses of a repository on GitHub")
    parser.add_argument("--strict", action="store_true", help="missing public addresses are errors too")
    options = parser.parse_args(arguments)
    if options.public:
        try:
            fill_in(root, options.public)
        except ValueError as problem:
            sys.stderr.write(f"{problem}\n")
            return 2
    found = problems(root)
    for problem in found:
        kind = "to be filled in by the publisher" if problem.publisher else "error"
        sys.stdout.write(f"{kind}: {problem.text}\n")
    failed = [problem for problem in found if options.strict or options.public or not problem.publisher]
    if not found:
        sys.stdout.write("The description has what the Extensions Index asks for.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

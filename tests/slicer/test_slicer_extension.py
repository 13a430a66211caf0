"""The extension can be configured by CMake from the repository's root, and its description is complete.

Slicer's own CMake files are replaced by a stub, which checks that every file listed for the module exists.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tools"))

import extension_index  # noqa: E402

MODULE = REPOSITORY / "slicer_module"
STUB = """
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/empty.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/empty.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/empty.cmake")
set(Slicer_FOUND TRUE)
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  foreach(file ${MODULE_SCRIPTS} ${MODULE_RESOURCES})
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
      message(FATAL_ERROR "missing: ${file}")
    endif()
    message(STATUS "listed: ${file}")
  endforeach()
endmacro()
macro(slicer_add_python_unittest)
endmacro()
"""


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_configures_the_extension_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "FindSlicer.cmake").write_text(STUB)
    (tmp_path / "stub" / "empty.cmake").write_text("")
    command = ["cmake", "-S", str(REPOSITORY), "-B", str(tmp_path / "build"), "-DBUILD_TESTING=ON"]
    languages = ["-DCMAKE_C_COMPILER_WORKS=1", "-DCMAKE_CXX_COMPILER_WORKS=1"]
    process = subprocess.run(
        [*command, *languages, f"-DCMAKE_MODULE_PATH={tmp_path / 'stub'}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    listed = set(re.findall(r"listed: (\S+)", process.stdout))
    assert {path.name for path in (MODULE / "FetalIQA" / "FetalIQALib").glob("*.py")} == {
        Path(file).name for file in listed if file.startswith("FetalIQALib/")
    }
    assert {"FetalIQA.py", "Resources/UI/FetalIQA.ui", "Resources/Icons/FetalIQA.png"} <= listed


def copied(folder: Path) -> Path:
    """What the Index's check reads of the repository."""
    for name in (
        "CMakeLists.txt",
        "LICENSE",
        str(extension_index.DESCRIPTION),
        extension_index.ICON,
        *extension_index.SCREENSHOTS,
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, folder / name)
    return folder


def test_only_public_addresses_are_missing_for_the_index() -> None:
    assert [one.text for one in extension_index.problems(REPOSITORY) if not one.publisher] == []
    assert extension_index.main([]) == 0


def test_one_command_fills_in_the_addresses(tmp_path: Path) -> None:
    root = copied(tmp_path)
    assert extension_index.main(["--public", "https://github.com/some-one/SlicerFetalIQA"], root) == 0
    assert extension_index.problems(root) == []
    text = (root / "CMakeLists.txt").read_text()
    assert extension_index.setting(text, "EXTENSION_HOMEPAGE") == "https://github.com/some-one/SlicerFetalIQA"
    entry = json.loads((root / extension_index.DESCRIPTION).read_text())
    assert entry["scm_url"] == "https://github.com/some-one/SlicerFetalIQA.git"
    assert extension_index.main(["--strict"], root) == 0


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("https://github.com/some-one/FetalIQA", 1),  # the name lacks Slicer
        ("http://github.com/some-one/SlicerFetalIQA", 2),
        ("https://github.com/some-one", 2),
        ("https://github.com/some-one/Slicer/tree/main", 2),
    ],
)
def test_addresses_that_the_index_refuses(tmp_path: Path, address: str, status: int) -> None:
    assert extension_index.main(["--public", address], copied(tmp_path)) == status


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"category": None}, "category"),
        ({"category": "Obstetrics"}, "Obstetrics"),
        ({"tier": 2}, "tier"),
        ({"tier": True}, "tier"),
        ({"build_subdirectory": "inner"}, "build_subdirectory"),
        ({"homepage": "https://a.example"}, "homepage is not in the schema"),
        ({"scm_url": "git@github.com:a/Slicer.git"}, "scm_url"),
        ({"build_dependencies": "NA"}, "build_dependencies"),
    ],
)
def test_a_wrong_description_is_named(tmp_path: Path, change: dict, word: str) -> None:
    root = copied(tmp_path)
    path = root / extension_index.DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert any(word in one.text and not one.publisher for one in extension_index.problems(root))


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("project(FetalIQA)", "project(Fetal)", "project()"),
        ('EXTENSION_CATEGORY "Ultrasound"', 'EXTENSION_CATEGORY "Cardiac"', "EXTENSION_CATEGORY"),
        ('EXTENSION_ICONURL ""', 'EXTENSION_ICONURL "icon.png"', "EXTENSION_ICONURL"),
        ('EXTENSION_ICONURL ""', 'EXTENSION_ICONURL "https://a.example/other.png"', "no picture"),
    ],
)
def test_a_wrong_cmake_file_is_named(tmp_path: Path, old: str, new: str, word: str) -> None:
    root = copied(tmp_path)
    path = root / "CMakeLists.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert any(word in one.text and not one.publisher for one in extension_index.problems(root))


def test_missing_files_are_named(tmp_path: Path) -> None:
    root = copied(tmp_path)
    for name in ("LICENSE", extension_index.ICON):
        (root / name).unlink()
        assert any(not one.publisher for one in extension_index.problems(root))
    (root / "CMakeLists.txt").unlink()
    assert "CMakeLists.txt" in extension_index.problems(root)[0].text


def test_the_contributors_are_those_of_the_citation_file() -> None:
    contributors = extension_index.setting((REPOSITORY / "CMakeLists.txt").read_text(), "EXTENSION_CONTRIBUTORS")
    assert f'name: "{contributors}"' in (REPOSITORY / "CITATION.cff").read_text()
    assert f'parent.contributors = ["{contributors}"]' in (MODULE / "FetalIQA" / "FetalIQA.py").read_text()

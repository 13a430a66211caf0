"""The extension can be configured by CMake from the repository's root, and its description is complete.

Slicer's own CMake files are replaced by a stub, which checks that every file listed for the module exists.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
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


def setting(name: str) -> str:
    match = re.search(rf'set\({name} "(.*)"\)', (REPOSITORY / "CMakeLists.txt").read_text())
    assert match, f"{name} is not set"
    return match.group(1)


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


def test_the_description_has_what_the_index_asks_for() -> None:
    entry = json.loads((MODULE / "FetalIQA.json").read_text())
    assert {"$schema", "category", "scm_url", "scm_revision"} <= set(entry)
    assert entry["build_subdirectory"] == "."
    assert entry["category"] == setting("EXTENSION_CATEGORY")


def test_the_contributors_are_those_of_the_citation_file() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f'name: "{setting("EXTENSION_CONTRIBUTORS")}"' in citation


def test_the_icon_and_the_screenshots_that_the_publisher_links_to_exist() -> None:
    named = re.findall(r"\S+\.png", (REPOSITORY / "CMakeLists.txt").read_text())
    assert len(named) >= 2
    assert all((REPOSITORY / path).is_file() for path in named)
    not_yet_known = ("EXTENSION_HOMEPAGE", "EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS")
    for address in filter(None, map(setting, not_yet_known)):  # empty until the publisher fills it in
        assert address.startswith("https://")

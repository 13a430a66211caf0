"""Names of cases: what can be one, how it is shown, and what its files are called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fetaliqa.atomic import atomic_path
from fetaliqa.case_names import case_name, file_names, fitting, is_case_name, name_problem, printable
from fetaliqa.errors import SweepError

USABLE = [
    "case_1",
    "größe",
    "gro\u0308ße",  # as Macs write it
    "孕妇\u3000一",
    "75 % gain",
    "a&b#c+d=e",
    "q'u\"ote",
    "(1) [2] {3}",
    "$HOME~`;,!@^",
    "_under",
    "1.2.840.113",
    "می\u200cخواهم",
    "x" * 200,
    "孕" * 66,
]
REFUSED = {
    "": "is empty",
    "..": "begins with '.'",
    ".hidden": "begins with '.'",
    "-rf": "begins with '-'",
    " a": "space",
    "a ": "space",
    "a..b": "'..'",
    "a/b": "slash",
    "a\\b": "backslash",
    "a\0b": "control",
    "a\nb": "control",
    "a\u202eb": "U\\+202E",
    "a\u200bb": "U\\+200B",
    "a\u2028b": "U\\+2028",
    "\ue000": "U\\+E000",
    os.fsdecode(b"a\xff"): "UTF-8",
    "x" * 201: "201 bytes",
    "孕" * 67: "201 bytes",
}


@pytest.mark.parametrize("name", USABLE)
def test_a_name_in_any_language_can_be_a_case(name: str) -> None:
    assert is_case_name(name), name_problem(name)
    assert case_name(name) == printable(name) == name


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_name_that_is_no_harmless_line_of_text_is_refused_with_the_reason(name: str, reason: str) -> None:
    assert re.search(reason, name_problem(name) or "")


def test_what_is_no_text_is_no_name() -> None:
    assert [is_case_name(value) for value in (None, 3, b"a", ["a"])] == [False] * 4


@pytest.mark.parametrize("name", [*REFUSED, "\x1b[31mred", "a\r\nSet-Cookie: b"])
def test_whatever_a_file_is_called_its_case_can_be_printed_and_leads_nowhere(name: str) -> None:
    shown = case_name(name)
    assert "".join(shown.splitlines()) == shown
    assert shown not in (".", "..")
    assert not set("/\\\0\x1b") & set(shown)
    shown.encode()


def test_an_error_is_one_printable_line_whatever_names_are_in_it() -> None:
    message = str(SweepError(f"{os.fsdecode(b'bad' + bytes([255]))}\n\x1b[2J\u202e.mha: no"))
    assert message == "bad\\xff\\n\\x1b[2J\\u202e.mha: no"


def test_files_of_two_cases_never_have_one_name_on_any_disk() -> None:
    cases = ["A", "a", "größe", "gro\u0308ße", "CON", "x:y", "x?y", "end.", "ok"]
    names = file_names(cases)
    assert (names["ok"], names["A"]) == ("ok", "A")
    assert len({name.casefold() for name in names.values()}) == len(cases)
    assert not any(set('<>:"|?*') & set(name) for name in names.values())
    plain = file_names(["größe", "grüße", "a b", "a_b"], ascii_only=True)
    assert all(name.isascii() and " " not in name for name in plain.values())
    assert len(set(plain.values())) == 4
    assert plain["a_b"] == "a_b"


def test_a_long_name_is_cut_between_letters_and_stays_apart_from_others() -> None:
    one, two = "孕" * 100 + "1", "孕" * 100 + "2"
    assert fitting("short", 255) == "short"
    assert len(fitting(one, 100).encode()) <= 100
    assert fitting(one, 100) != fitting(two, 100)


def test_a_file_of_a_long_name_is_written_whole_beside_its_place(tmp_path: Path) -> None:
    for name in ("孕" * 82 + ".mha", "a. " + "b" * 240, "c" * 248 + ".nii.gz"):
        with atomic_path(tmp_path / name) as temporary:
            assert temporary.name.endswith(".nii.gz" if name.endswith(".nii.gz") else "")
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"


def test_names_do_not_end_the_command_line_where_the_terminal_has_no_such_letters(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fetaliqa.cli.main", "labels", "list", "--studies", str(tmp_path / "孕妇")]
    own = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    ended = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "\\u5b55" in ended.stderr

"""The hash of a data set's files: every byte counts, and a file is read again only where it may have changed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fetaliqa import file_provenance
from fetaliqa.active.frame_profiles import source_of
from fetaliqa.batch.done_marker import input_state
from fetaliqa.datasets import data_fingerprint
from fetaliqa.datasets.data_fingerprint import files_signature
from fetaliqa.file_provenance import FileProvenance, HashStore, user_hashes

LARGE = 17 << 20  # bytes; earlier versions hashed only both ends of files above 16 MiB


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch) -> Path:
    """Where signatures are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/fetaliqa/file-signatures"


@pytest.fixture
def large(tmp_path) -> Path:
    path = tmp_path / "masks.nii"
    path.write_bytes(bytes(LARGE))
    wait_until_settled(path)
    return path


def wait_until_settled(path: Path) -> None:
    while not FileProvenance.of(path).is_settled:
        pass


def sized_sha256(path: Path) -> str:
    """What counts of a file in the fingerprint of a data set."""
    return user_hashes().sha256(path, sized=True)


def change_middle(path: Path) -> None:
    """Change one byte in place, and set the time of change back to what it was."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(LARGE // 2)
        file.write(b"\x01")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_byte_changed_in_the_middle_of_a_large_file_changes_its_signature(large):
    before = sized_sha256(large)
    change_middle(large)
    wait_until_settled(large)
    assert sized_sha256(large) != before


def test_a_large_file_that_did_not_change_is_not_read_again(large, monkeypatch):
    before = sized_sha256(large)
    monkeypatch.setattr(file_provenance, "file_sha256", lambda *_, **__: pytest.fail("it was read"))
    assert sized_sha256(large) == before


def test_another_process_finds_the_signature(large):
    before = sized_sha256(large)
    code = (
        "import sys, pathlib, fetaliqa.file_provenance as h\n"
        "h.file_sha256 = lambda *_, **__: sys.exit('it was read')\n"
        "print(h.user_hashes().sha256(pathlib.Path(sys.argv[1]), sized=True))"
    )
    completed = subprocess.run([sys.executable, "-c", code, str(large)], capture_output=True, text=True)
    assert completed.stdout.strip() == before, completed.stderr


def test_a_file_that_changed_just_now_is_not_remembered(large, kept, monkeypatch):
    """A second change within the same tick of the clock would leave the same times."""
    monkeypatch.setattr(file_provenance.time, "time_ns", lambda: large.stat().st_ctime_ns + 1)
    sized_sha256(large)
    assert not kept.exists()


def test_a_file_moved_into_place_with_the_same_size_and_times_is_read(large, tmp_path):
    before = sized_sha256(large)
    other = tmp_path / "other.nii"
    other.write_bytes(b"\x01" * LARGE)
    times = large.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(other, large)
    assert sized_sha256(large) != before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"stamp": 1}', b"\xff"])
def test_a_damaged_entry_is_made_again(large, kept, content):
    before = sized_sha256(large)
    (entry,) = kept.iterdir()
    entry.write_bytes(content)
    assert sized_sha256(large) == before
    assert json.loads(entry.read_text())["signature"] == before


def test_where_nothing_can_be_kept_the_signature_is_the_same(large, kept):
    before = sized_sha256(large)
    in_the_way = kept.with_name("a-file")
    in_the_way.write_bytes(b"")  # no folder can be made there, whoever runs the test
    assert HashStore(in_the_way / "signatures").sha256(large, sized=True) == before


def test_both_hashes_of_a_file_are_remembered_side_by_side(large, kept, monkeypatch):
    hashes = user_hashes()
    before = [hashes.sha256(large, sized=sized) for sized in (True, False)]
    assert before[1] == hashlib.sha256(bytes(LARGE)).hexdigest() != before[0]
    monkeypatch.setattr(file_provenance, "file_sha256", lambda *_, **__: pytest.fail("it was read"))
    assert [hashes.sha256(large, sized=sized) for sized in (True, False)] == before


def test_an_entry_of_an_earlier_version_is_used(large, kept, monkeypatch):
    entry = kept / f"{hashlib.sha256(os.fsencode(large.resolve())).hexdigest()}.json"
    kept.mkdir(parents=True)
    status = large.stat()
    stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    entry.write_text(json.dumps({"stamp": stamp, "signature": "ab" * 32}))
    assert user_hashes().sha256(large, sized=True) == "ab" * 32
    assert user_hashes().sha256(large) == hashlib.sha256(bytes(LARGE)).hexdigest()


def test_small_files_keep_the_signatures_that_recorded_runs_have(tmp_path):
    path = tmp_path / "small.png"
    path.write_bytes(b"abc")
    assert sized_sha256(path) == hashlib.sha256(b"3|abc").hexdigest()


def test_the_pixels_of_a_header_count_whatever_their_file_is_called(tmp_path):
    header = "NDims = 3\nDimSize = 4 4 2\nElementType = MET_UCHAR\nElementDataFile = pixels.raw\n"
    (tmp_path / "case.mhd").write_text(f"ObjectType = Image\n{header}")
    (tmp_path / "pixels.raw").write_bytes(bytes(32))
    before = files_signature(tmp_path, [tmp_path / "case.mhd"])
    (tmp_path / "pixels.raw").write_bytes(bytes(31) + b"\x01")
    assert files_signature(tmp_path, [tmp_path / "case.mhd"]) != before


def test_hashing_that_takes_long_shows_a_bar_on_a_terminal_only(large, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown, log = Terminal(), io.StringIO()
    monkeypatch.setattr(data_fingerprint, "SHOW_AFTER_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", shown)
    files_signature(tmp_path, [large])
    monkeypatch.setattr(sys, "stderr", log)
    files_signature(tmp_path, [large])
    assert "hashing files" in shown.getvalue()
    assert log.getvalue() == ""


@pytest.mark.parametrize("provenance", [input_state, source_of, FileProvenance.of])
def test_what_tells_files_apart_sees_an_edit_that_keeps_size_and_time(large, provenance):
    """Of done marks, profiles and labels."""
    before = provenance(large)
    wait_until_settled(large)
    change_middle(large)
    assert provenance(large) != before


def test_a_done_mark_sees_another_file_in_the_place_of_one_with_the_same_size(tmp_path):
    path = tmp_path / "sweep.png"
    path.write_bytes(b"one")
    before = input_state(path)
    assert path.stat().st_ino in before["files"][0]


def test_the_profile_of_a_detached_header_follows_its_pixels(tmp_path):
    np.zeros(32, np.uint8).tofile(tmp_path / "pixels.raw")
    (tmp_path / "case.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementType = MET_UCHAR\nElementDataFile = pixels.raw\n"
    )
    before = source_of(tmp_path / "case.mhd")
    np.ones(33, np.uint8).tofile(tmp_path / "pixels.raw")
    assert source_of(tmp_path / "case.mhd") != before

"""``fetaliqa score --resume``: what is done stays, what would come out otherwise is done again."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK
from waiting import wait_for

pytestmark = pytest.mark.slow


def scored_at(out: Path) -> dict[str, int]:
    """When each case's assessment was written (inode and time), by case."""
    files = {path.parent.name: path.stat() for path in out.glob("*/assessment.json")}
    return {name: state.st_ino + state.st_mtime_ns for name, state in files.items()}


def scored_again(before: dict[str, int], out: Path) -> set[str]:
    return {name for name, when in scored_at(out).items() if before.get(name) != when}


@pytest.fixture
def done(whole_run, tmp_path) -> Path:
    """Results of all cases, which may be changed."""
    return Path(shutil.copytree(whole_run, tmp_path / "out"))


@contextlib.contextmanager
def a_run(*arguments: object):
    command = [sys.executable, "-m", "fetaliqa.cli.main", "score", *map(str, arguments), "--quiet", "--no-cache"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_killed_run_is_finished_without_scoring_a_finished_case_again(
    small_cases, tmp_path, score, whole_run, contents
):
    out = tmp_path / "out"
    with a_run(small_cases, "--out", out) as process:
        wait_for(lambda: len(list(out.glob("*/done.json"))) >= 1)
        process.send_signal(signal.SIGKILL)
    before = scored_at(out)
    assert 1 <= len(before) < len(list(small_cases.iterdir()))
    assert not (out / "summary.csv").exists()
    assert score(small_cases, "--out", out, "--resume") == 0
    assert scored_again(before, out).isdisjoint(before)
    assert contents(out) == contents(whole_run)


def test_a_case_that_was_being_written_when_the_process_died_is_not_taken_for_done(
    small_cases, tmp_path, score, whole_run, contents, monkeypatch
):
    """Killed between any two files of a folder, whether it is new or there already."""
    from fetaliqa.batch import case_folder as folder

    out = tmp_path / "out"
    real = folder.contact_sheet

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    one = small_cases / "case0.mha"
    monkeypatch.setattr(folder, "contact_sheet", killed)
    with pytest.raises(Killed):
        score(one, "--out", out)
    assert list(out.iterdir()) == []  # a half folder is not seen
    monkeypatch.setattr(folder, "contact_sheet", real)
    assert score(one, "--out", out) == 0

    renamed = os.replace

    def killed_at_the_last(source: Path, target: Path) -> None:
        if Path(target) == out / "case0" / "frames.csv":
            raise Killed
        renamed(source, target)

    monkeypatch.setattr(folder.os, "replace", killed_at_the_last)
    with pytest.raises(Killed):
        score(one, "--out", out)
    monkeypatch.setattr(folder.os, "replace", renamed)
    assert not (out / "case0" / "done.json").exists()
    assert score(small_cases, "--out", out, "--resume") == 0
    assert contents(out) == contents(whole_run)


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path, my_cases, score):
    from fetaliqa.batch.case_folder import UNFINISHED, _machine

    out = tmp_path / "out"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = out / UNFINISHED / f"{_machine()}-{int(dead.stdout)}-abc"
    living = out / UNFINISHED / f"{_machine()}-{os.getpid()}-abc"
    elsewhere = out / UNFINISHED / "another_machine-4026531836-17-abc"
    for folder in (left, living, elsewhere):
        folder.mkdir(parents=True)
    assert score(my_cases / "case0.mha", "--out", out) == 0
    assert sorted((out / UNFINISHED).iterdir()) == sorted([living, elsewhere])


@pytest.mark.parametrize(
    "options",
    [
        ["--threshold", "0.4"],
        ["--top", "2"],
        ["--mask-format", ".nrrd"],
        ["--search"],
        ["--precision", "bf16"],
    ],
)
def test_other_options_are_another_result(done, my_cases, score, options):
    before = scored_at(done)
    assert score(my_cases / "case1.mha", "--out", done, "--resume", *options) == 0
    assert scored_again(before, done) == {"case1"}
    first = scored_at(done)
    assert score(my_cases / "case1.mha", "--out", done, "--resume", *options) == 0
    assert scored_again(first, done) == set()


def test_masks_of_the_former_run_do_not_stay_beside_those_of_the_new_one(done, my_cases, score):
    (done / "case1" / "notes.txt").write_text("mine")
    assert score(my_cases / "case1.mha", "--out", done, "--mask-format", ".nrrd") == 0
    names = {path.name for path in (done / "case1").iterdir()}
    assert {"masks.nrrd", "notes.txt"} <= names
    assert "masks.mha" not in names


def test_a_changed_input_is_scored_again(done, my_cases, score):
    image = SimpleITK.ReadImage(str(my_cases / "case2.mha"))
    SimpleITK.WriteImage(image[:, :, 1:], str(my_cases / "case2.mha"))
    before = scored_at(done)
    assert score(my_cases, "--out", done, "--resume") == 0
    assert scored_again(before, done) == {"case2"}
    with open(done / "summary.csv", newline="") as stream:
        assert [row["frames"] for row in csv.DictReader(stream)] == ["5", "5", "4", "5"]


def test_an_input_of_the_same_size_and_time_is_still_another(done, my_cases, score):
    """Archives unpack to whole seconds, and stacks of one scanner are of one size."""
    path = my_cases / "case2.mha"
    state, content = path.stat(), bytearray(path.read_bytes())
    where = content.index(b"ElementSpacing = 0.5")  # 0.56 mm
    content[where : where + 20] = b"ElementSpacing = 0.6"
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    before = scored_at(done)
    assert score(my_cases, "--out", done, "--resume") == 0
    assert scored_again(before, done) == {"case2"}


def test_an_input_that_was_copied_elsewhere_is_known_by_its_bytes(done, my_cases, score, tmp_path):
    moved = tmp_path / "elsewhere"
    my_cases.rename(moved)
    for path in moved.iterdir():
        path.touch()
    before = scored_at(done)
    assert score(moved, "--out", done, "--resume") == 0
    assert scored_again(before, done) == set()


def test_a_file_removed_from_the_results_is_made_again(done, my_cases, score):
    (done / "case3" / "masks.mha").unlink()
    before = scored_at(done)
    assert score(my_cases, "--out", done, "--resume") == 0
    assert scored_again(before, done) == {"case3"}
    assert (done / "case3" / "masks.mha").is_file()


def test_without_resume_everything_is_scored_again(done, my_cases, score):
    before = scored_at(done)
    assert score(my_cases / "case0.mha", my_cases / "case1.mha", "--out", done) == 0
    assert scored_again(before, done) == {"case0", "case1"}


def test_a_detached_header_is_known_by_its_pixels_file(tmp_path, my_cases, score):
    image = SimpleITK.ReadImage(str(my_cases / "case0.mha"))
    SimpleITK.WriteImage(image, str(tmp_path / "two.mhd"))
    out = tmp_path / "out"
    assert score(tmp_path / "two.mhd", "--out", out) == 0
    before = scored_at(out)
    assert score(tmp_path / "two.mhd", "--out", out, "--resume") == 0
    assert scored_again(before, out) == set()
    pixels = bytearray((tmp_path / "two.raw").read_bytes())
    pixels[len(pixels) // 2] ^= 8
    (tmp_path / "two.raw").write_bytes(pixels)
    assert score(tmp_path / "two.mhd", "--out", out, "--resume") == 0
    assert scored_again(before, out) == {"two"}


def test_what_cannot_be_assessed_is_listed_and_tried_again(done, my_cases, score, capsys):
    whole = (my_cases / "case1.mha").read_bytes()
    (my_cases / "case1.mha").write_bytes(b"not an image")
    assert score(my_cases, "--out", done, "--resume", "--json") == 2
    printed = capsys.readouterr()
    assert "1 of 4 inputs could not be assessed" in printed.err
    assert [json.loads(line)["case_id"] for line in printed.out.splitlines()] == [f"case{n}" for n in (0, 2, 3)]
    with open(done / "failed.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["case"] == "case1"
    assert "MetaImage" in row["reason"]
    with open(done / "summary.csv", newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == [f"case{n}" for n in (0, 2, 3)]
    (my_cases / "case1.mha").write_bytes(whole)
    assert score(my_cases, "--out", done, "--resume") == 0
    assert not (done / "failed.csv").exists()


def test_resume_needs_a_folder(my_cases, score, capsys):
    assert score(my_cases, "--resume") == 2
    assert "--out" in capsys.readouterr().err


def as_an_earlier_version_wrote(state: os.stat_result) -> list[int]:
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def test_a_marker_of_an_earlier_version_is_read(done, my_cases, score):
    """By path and state, else by the plain SHA-256 of the file."""
    path, marker = my_cases / "case0.mha", done / "case0" / "done.json"
    stored = json.loads(marker.read_text())
    assert stored["schema"] == 1
    stored["input"] = {"path": str(path), "files": [["case0.mha", *as_an_earlier_version_wrote(path.stat())]]}
    stored["sha256"] = ""
    marker.write_text(json.dumps(stored))
    before = scored_at(done)
    assert score(path, "--out", done, "--resume") == 0
    assert scored_again(before, done) == set()
    stored["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    marker.write_text(json.dumps(stored))
    path.touch()
    assert score(path, "--out", done, "--resume") == 0
    assert scored_again(before, done) == set()


@pytest.mark.parametrize("state", [None, {}, {"path": "/x"}, {"path": "/x", "files": None}, {"files": [1]}])
def test_a_case_with_a_damaged_marker_is_scored_again(done, my_cases, score, state):
    marker = done / "case0" / "done.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "input": state}))
    before = scored_at(done)
    assert score(my_cases / "case0.mha", "--out", done, "--resume") == 0
    assert scored_again(before, done) == {"case0"}

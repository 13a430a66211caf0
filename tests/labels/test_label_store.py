"""The store of labels: versions, conflicts, reviews; and nothing lost by a kill, a full disk or a race."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from fetaliqa.errors import LabelConflict, LabelDamaged, LabelError, NotFoundError
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


@pytest.fixture
def mask(tmp_path):
    def make(text, name="mask.nii.gz"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def record(*frames, rater="anna"):
    return FrameRecord({frame: FrameLabel("annotated", "optimal", rater) for frame in frames})


def test_what_was_saved_is_read_back(store, mask):
    assert store.current("case-1", "final") is None
    saved = store.save("case-1", "final", mask("one"), record(3), {"user": "anna"}, based_on=0)
    assert (saved.version, saved.based_on, saved.removed, saved.review) == (1, 0, False, None)
    current = LabelStore(store.folder).current("case-1", "final")
    assert current == saved
    assert current.mask.read_text() == "one"
    assert current.mask.name == "mask.nii.gz"
    assert current.record == record(3)
    assert current.info == {"user": "anna"}
    assert (store.cases(), store.tags("case-1")) == (["case-1"], ["final"])
    assert store.check() == []


def test_an_empty_case_has_a_record_and_no_mask(store):
    saved = store.save("case-1", "final", None, FrameRecord({0: FrameLabel("empty")}))
    assert saved.mask is None
    assert saved.record.known() == [0]


def test_earlier_versions_stay_and_can_be_restored(store, mask):
    for text in ("one", "two", "three"):
        store.save("case-1", "final", mask(text), record(len(text)))
    restored = store.restore("case-1", "final", 1, {"user": "bo"})
    assert (restored.version, restored.restored_from) == (4, 1)
    assert restored.mask.read_text() == "one"
    assert restored.record == record(3)
    texts = [version.mask.read_text() for version in store.history("case-1", "final")]
    assert texts == ["one", "two", "three", "one"]
    with pytest.raises(NotFoundError, match="there is no version 9; there are versions 1 to 4"):
        store.restore("case-1", "final", 9)


def test_raters_are_kept_apart(store, mask):
    store.save("case-1", "anna", mask("hers"), record(1))
    store.save("case-1", "bo", mask("his"), record(1, rater="bo"))
    assert store.tags("case-1") == ["anna", "bo"]
    assert store.current("case-1", "anna").mask.read_text() == "hers"


def test_a_save_from_an_outdated_version_is_a_conflict_and_changes_nothing(store, mask):
    store.save("case-1", "final", mask("one"), record(1), {"user": "anna"}, based_on=0)
    store.save("case-1", "final", mask("two"), record(1), {"user": "bo"}, based_on=1)
    with pytest.raises(
        LabelConflict, match=r"based on version 1, but version 2 was saved meanwhile \(.* by bo\); load it"
    ) as caught:
        store.save("case-1", "final", mask("three"), record(1), {"user": "anna"}, based_on=1)
    assert caught.value.http_status == 409
    with pytest.raises(LabelConflict):
        store.save("case-1", "final", mask("three"), record(1), based_on=0)
    with pytest.raises(LabelConflict, match="based on version 4, but there is no such label"):
        store.save("case-2", "final", mask("three"), record(1), based_on=4)
    assert store.current("case-1", "final").mask.read_text() == "two"
    assert len(store.history("case-1", "final")) == 2
    # a client that knows no versions is taken, and what it replaced stays in the history
    assert store.save("case-1", "final", mask("four"), record(1)).version == 3


def test_of_many_writers_with_the_same_base_one_wins(store, mask):
    store.save("case-1", "final", mask("start"), record(1))
    outcomes = []

    def write(number):
        try:
            store.save("case-1", "final", mask(f"by {number}", f"{number}.nii.gz"), record(1), based_on=1)
            outcomes.append(number)
        except LabelConflict:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number in outcomes if number is not None]
    assert len(outcomes) == 8
    assert len(winners) == 1
    assert store.current("case-1", "final").mask.read_text() == f"by {winners[0]}"


def test_a_removed_label_is_gone_and_can_come_back(store, mask):
    store.save("case-1", "final", mask("one"), record(1))
    store.remove("case-1", "final", {"user": "bo"})
    assert store.current("case-1", "final") is None
    assert store.tags("case-1") == []
    with pytest.raises(NotFoundError):
        store.remove("case-1", "final")
    with pytest.raises(LabelError, match="version 2 removed the label"):
        store.restore("case-1", "final", 2)
    assert store.restore("case-1", "final", 1).version == 3
    store.remove("case-1", "final")
    assert store.save("case-1", "final", mask("new"), record(1), based_on=0).version == 5  # as who sees none


def test_reviews_belong_to_a_version(store, mask):
    store.save("case-1", "anna", mask("one"), record(1))
    returned = store.review("case-1", "anna", 1, "returned", "carla", "the outline cuts the stomach")
    assert returned.review.comment == "the outline cuts the stomach"
    again = store.review("case-1", "anna", 1, "accepted", "dora")
    assert [one.reviewer for one in again.reviews] == ["carla", "dora"]
    assert again.review.state == "accepted"
    store.save("case-1", "anna", mask("two"), record(1), based_on=1)
    assert store.current("case-1", "anna").review is None  # nobody said anything of this one
    assert store.review("case-1", "anna", 2, "accepted", "carla").review.state == "accepted"
    assert store.version("case-1", "anna", 1).reviews[0].state == "returned"
    for state, reviewer, comment, sentence in (
        ("fine", "carla", "", "review 'fine'"),
        ("accepted", " ", "", "reviewer's name"),
        ("returned", "carla", " ", "comment"),
    ):
        with pytest.raises(LabelError, match=sentence):
            store.review("case-1", "anna", 2, state, reviewer, comment)


def test_a_reviewer_picks_one_of_two_raters(store, mask):
    store.save("case-1", "anna", mask("hers"), record(1), {"user": "anna"})
    store.save("case-1", "bo", mask("his"), record(2, rater="bo"), {"user": "bo"})
    picked = store.pick("case-1", "bo", 1, "final", "carla")
    assert picked.mask.read_text() == "his"
    assert picked.record == record(2, rater="bo")
    assert picked.info["picked_from"] == {"tag": "bo", "version": 1, "reviewer": "carla"}
    assert store.current("case-1", "bo").review.state == "accepted"
    assert store.current("case-1", "anna").review is None


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", ".hidden", "a..b", "x" * 201, "a\nb", "a\\b"])
def test_names_lead_nowhere_else(store, mask, name, tmp_path):
    with pytest.raises(LabelError, match="cannot name a case or tag"):
        store.save(name, "final", mask("one"), None)
    with pytest.raises(LabelError, match="cannot name a case or tag"):
        store.save("case-1", name, mask("one"), None)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("case", ["größe", "gro\u0308ße", "孕妇 (2)", "75 % gain", "a#b&c", "_case"])
def test_a_case_may_have_a_name_in_any_language_and_a_tag_may_not(store, mask, case):
    saved = store.save(case, "final", mask("one"), record(1), {"user": "anna"})
    assert store.cases() == [case]
    assert store.current(case, "final").mask.read_text() == "one"
    store.save(case, "final", mask("two"), record(2), based_on=saved.version)
    assert store.restore(case, "final", 1).version == 3
    assert store.check() == []
    with pytest.raises(LabelError, match="cannot name a case or tag"):
        store.save("case-1", "größe", mask("one"), None)
    store.retire(case)
    assert store.cases() == []


def test_damage_is_found_and_named(store, mask):
    for case in ("case-1", "case-2", "case-3"):
        store.save(case, "final", mask("one"), record(1))
    (store.folder / "case-1/final/000001/mask.nii.gz").write_text("two")
    (store.folder / "case-2/final/000001/mask.nii.gz").unlink()
    (store.folder / "case-3/final/000001/label.json").write_text("{")
    problems = store.check()
    assert [problem.split(":")[0] for problem in problems] == [f"case-{n}, final, version 1" for n in (1, 2, 3)]
    assert "changed after it was saved" in problems[0]
    with pytest.raises(LabelError, match=r"its mask mask\.nii\.gz is missing; restore an earlier version"):
        store.current("case-2", "final")


def test_a_damaged_last_version_does_not_lock_the_label(store, mask):
    for text in ("one", "two"):
        store.save("case-1", "final", mask(text), record(1))
    (store.folder / "case-1/final/000002/label.json").write_text("{")
    with pytest.raises(LabelDamaged):
        store.current("case-1", "final")
    assert store.tags("case-1") == ["final"]
    with pytest.raises(LabelConflict, match=r"the last is 2 \(.*damaged"):
        store.save("case-1", "final", mask("three"), record(1), based_on=1)
    assert store.restore("case-1", "final", 1).version == 3
    assert store.current("case-1", "final").mask.read_text() == "one"


def test_the_suffix_is_kept_whatever_its_case(store, mask):
    assert store.save("case-1", "final", mask("one", "M.NII.GZ"), None).mask.name == "mask.nii.gz"
    assert store.save("case-1", "final", mask("one", "m.1.MHA"), None).mask.name == "mask.mha"


def test_labels_of_a_removed_image_are_put_aside(store, mask):
    store.save("case-1", "final", mask("one"), record(1))
    store.retire("case-1")
    store.retire("case-2")  # had none
    assert store.cases() == []
    assert store.save("case-1", "final", mask("new"), None, based_on=0).version == 1
    (aside,) = (store.folder / ".retired").iterdir()
    assert (aside / "final/000001/mask.nii.gz").read_text() == "one"


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "save again")],
)
def test_a_disk_that_refuses_loses_nothing(store, mask, monkeypatch, number, sentence):
    store.save("case-1", "final", mask("one"), record(1))

    def refuse(source, target):
        target.write_text("ha")  # half of it
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fetaliqa.labels.label_store._copy", refuse)
    with pytest.raises(LabelError, match=f"not saved, and nothing changed: .*{sentence}"):
        store.save("case-1", "final", mask("two"), record(2))
    assert store.current("case-1", "final").mask.read_text() == "one"
    assert store.check() == []
    monkeypatch.undo()
    assert store.save("case-1", "final", mask("two"), record(2)).version == 2


def test_a_real_limit_of_the_file_size_is_reported(store, mask, tmp_path):
    store.save("case-1", "final", mask("one"), record(1))
    script = (
        "import resource, sys; from pathlib import Path; from fetaliqa.labels import LabelStore;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); import signal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "LabelStore(Path(sys.argv[1])).save('case-1', 'final', Path(sys.argv[2]), None)"
    )
    large = mask("x" * 100_000, "large.nii.gz")
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.folder), str(large)], capture_output=True, text=True
    )
    assert "not saved, and nothing changed: the disk is full" in done.stderr
    assert store.current("case-1", "final").mask.read_text() == "one"
    assert [child.name for child in (store.folder / "case-1/final").iterdir() if child.is_dir()] == ["000001"]


WRITER = """
import sys
from pathlib import Path
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore
store, source = LabelStore(Path(sys.argv[1])), Path(sys.argv[2])
version = len(store.history("case-1", "final"))
print("ready", flush=True)
while True:
    source.write_text(f"mask {version + 1} " * 4000)
    frames = FrameRecord({version + 1: FrameLabel("annotated", "optimal", "anna")})
    version = store.save("case-1", "final", source, frames, {"number": version + 1}, based_on=version).version
    print(version, flush=True)
"""


@pytest.mark.parametrize("kills", [4, pytest.param(12, marks=pytest.mark.long)])
def test_a_kill_at_any_moment_leaves_whole_labels_with_their_records(store, tmp_path, kills):
    """SIGKILL a process that does nothing but save, a few times at random moments."""
    chance = random.Random(4)
    for kill in range(kills):
        with open(tmp_path / f"out-{kill}", "w+b") as out:
            command = [sys.executable, "-c", WRITER, str(store.folder), str(tmp_path / f"mask-{kill}.nii.gz")]
            process = subprocess.Popen(command, stdout=out)
            lines = 4 if kill % 2 else 1  # every second one has saved three times, however busy the machine is
            deadline = time.monotonic() + 60
            while (tmp_path / f"out-{kill}").read_bytes().count(b"\n") < lines and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.15))
            process.send_signal(signal.SIGKILL)
            process.wait()
            reported = [int(word) for word in (tmp_path / f"out-{kill}").read_text().split() if word.isdigit()]
        history = store.history("case-1", "final")
        assert [saved_version.version for saved_version in history] == list(range(1, len(history) + 1))
        if reported:  # whoever was told that it is saved, it is
            assert len(history) >= reported[-1]
        for saved_version in history:
            assert saved_version.mask.read_text() == f"mask {saved_version.version} " * 4000
            assert saved_version.record.known() == [saved_version.version]
            assert saved_version.info == {"number": saved_version.version}
    assert store.check() == []
    assert len(history) > kills  # it did save in between
    left = json.loads((store.folder / "case-1/final/000001/label.json").read_text())
    assert left["schema"] == 1

"""Whose kept work is offered to whom: the same rater, the same server however it is spelt, no living Slicer's."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_server import an_idle_server
from FetalIQALib.casework import CaseWork
from FetalIQALib.failures import FileFailure
from FetalIQALib.http import checked_address, same_server
from FetalIQALib.journal import Journals, Kept, read_journal
from FetalIQALib.opening import Opened
from FetalIQALib.workplace import Workplace
from workplaces import a_sweep, connected, settle

SERVER = "http://127.0.0.1:8000"


def a_place(folder: Path, rater: str, server: str = SERVER) -> Workplace:
    """A workplace of one Slicer, as after connecting."""
    place = Workplace(folder)
    place.journals = Journals(folder, server)
    place.hub.rater = rater
    return place


def put(place: Workplace) -> CaseWork:
    """The case onto the desk, as it arrives from the server without a label."""
    place.desk._put_on_desk(Opened(a_sweep(), None, {}), place.hub.tag)
    assert place.desk.work is not None
    return place.desk.work


def left_behind(folder: Path, rater: str, frame: int = 3, server: str = SERVER) -> Path:
    """A journal of a Slicer that is no longer there."""
    place = a_place(folder, rater, server)
    put(place)
    assert place.desk.act("empty", lambda work: work.mark_empty(frame))
    path = place.journals.path("case_a", "final")
    place.leave()
    return path


def test_anothers_work_is_neither_offered_nor_touched_but_told_of(tmp_path: Path) -> None:
    theirs = left_behind(tmp_path, "ben")
    before = theirs.read_bytes()
    anna = a_place(tmp_path, "anna")
    put(anna)
    assert anna.desk.keeper.offered == []
    assert "work of ben" in anna.hub.status.text or "work of ben" in anna.desk.keeper.told_of_others()
    assert not anna.desk.resume()
    assert "of yours" in anna.hub.status.text
    assert "work of ben" in anna.hub.status.text
    assert anna.journals.cases("final", "anna") == []
    anna.desk.dismiss_kept()
    anna.desk.act("empty", lambda work: work.mark_empty(9))
    anna.desk.keeper.done("case_a", "final", anna.journals)
    anna.leave()
    assert theirs.read_bytes() == before
    ben = a_place(tmp_path, "ben")
    put(ben)
    assert ben.desk.keeper.offered == [theirs]
    assert ben.desk.resume()
    assert sorted(ben.desk.work.frames) == [3]


def test_anothers_work_is_not_taken_over_even_when_it_is_named(tmp_path: Path) -> None:
    theirs = left_behind(tmp_path, "ben")
    anna = a_place(tmp_path, "anna")
    work = put(anna)
    anna.desk.keeper.offered = [theirs]
    assert not anna.desk.resume()
    assert "that of ben" in anna.hub.status.text
    assert theirs.exists()
    assert work.frames == {}


def test_both_are_there_and_only_ones_own_is_resumed(tmp_path: Path) -> None:
    theirs, own = left_behind(tmp_path, "ben", 3), left_behind(tmp_path, "anna", 5)
    os.utime(theirs)  # the newest one
    anna = a_place(tmp_path, "anna")
    work = put(anna)
    assert anna.desk.keeper.offered == [own]
    assert anna.desk.resume()
    assert sorted(work.frames) == [5]
    assert theirs.exists()


def test_another_rater_in_the_same_slicer_does_not_go_on_with_the_work_on_the_desk(tmp_path: Path) -> None:
    place = a_place(tmp_path, "anna")
    put(place)
    place.desk.act("empty", lambda work: work.mark_empty(3))
    path = place.journals.path("case_a", "final")
    place.desk.close()
    place.hub.rater = "ben"
    work = put(place)
    assert work.frames == {}
    assert place.desk.keeper.offered == []
    place.desk.act("empty", lambda work: work.mark_empty(9))
    place.desk.close()
    place.hub.rater = "anna"
    work = put(place)
    assert place.desk.resume()
    assert sorted(work.frames) == [3]
    assert json.loads(path.read_text())["rater"] == "anna"


def test_connecting_under_another_name_leaves_the_work_to_whose_it_is(tmp_path: Path) -> None:
    fake = an_idle_server()
    place = connected(tmp_path, fake.url, rater="")
    put(place)
    place.desk.act("empty", lambda work: work.mark_empty(3))
    path = place.journals.path("case_a", "final")
    for rater, on_desk, whose in (("anna", True, "anna"), ("anna", True, "anna"), ("ben", False, "anna")):
        assert place.connect(fake.url.replace("127.0.0.1", "LocalHost") + "/", rater=rater)  # the same server
        settle(place)
        assert (place.desk.work is not None) == on_desk
        place.pump()
        assert json.loads(path.read_text())["rater"] == whose  # a name that was forgotten is filled in
    assert place.worklist.shown("in progress") == []  # anna's, not ben's
    fake.close()


@pytest.mark.parametrize(
    "spelling",
    ["HTTP://127.0.0.1:8000/", "http://LocalHost:8000", "localhost:8000//", "http://[::1]:8000", "127.0.0.1:8000"],
)
def test_another_spelling_of_the_address_finds_the_same_work(tmp_path: Path, spelling: str) -> None:
    own = left_behind(tmp_path, "anna")
    place = a_place(tmp_path, "anna", spelling)
    put(place)
    assert place.desk.keeper.offered == [own]


def test_addresses_have_one_spelling_and_other_servers_stay_apart() -> None:
    assert checked_address(" HTTPS://Clinic.Example:443/Label/ ") == "https://clinic.example/Label"
    assert checked_address("Clinic.example:80/") == "http://clinic.example"
    assert checked_address("http://[::1]:8000/") == "http://[::1]:8000"
    assert checked_address("localhost:8000") == "http://localhost:8000"  # asked as it was written
    others = ["http://a:1", "http://a:2", "https://a:1", "http://a:1/one", "http://b:1", "http://127.0.0.1:1"]
    assert len({same_server(one) for one in others}) == len(others)


def test_work_kept_under_an_old_spelling_is_found_and_gone_on_with(tmp_path: Path) -> None:
    """Earlier versions of the module named the folder after the address as it was typed."""
    path = left_behind(tmp_path, "anna")
    old = tmp_path / hashlib.sha256(b"http://LOCALHOST:8000").hexdigest()[:16]
    path.parent.rename(old)
    kept = old / path.name
    kept.write_text(kept.read_text().replace(SERVER, "http://LOCALHOST:8000"))
    (old / "another~final~00000000.journal.json").write_text("{")  # damage of one file hides no other
    place = a_place(tmp_path, "anna")
    assert place.journals.cases("final", "anna") == ["case_a"]
    work = put(place)
    assert place.desk.keeper.offered == [kept]
    assert place.desk.resume()
    assert sorted(work.frames) == [3]
    assert place.journals.path("case_a", "final").parent != old
    assert not kept.exists()  # put aside
    assert len(list((old / "aside").iterdir())) == 1
    other = a_place(tmp_path, "anna", "http://elsewhere:8000")
    put(other)
    assert other.desk.keeper.offered == []


LIVING = """
    import sys, time
    sys.path[:0] = {paths!r}
    from pathlib import Path
    from test_slicer_keeping import a_place, put
    place = a_place(Path({folder!r}), "anna")
    put(place)
    if {resume}:
        assert place.desk.resume(), place.hub.status
    place.desk.act("empty", lambda work: work.mark_empty(4))
    print(place.journals.path("case_a", "final"), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def another_slicer(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen, Path]]]:
    started = []

    def start(resume: bool = False) -> tuple[subprocess.Popen, Path]:
        script = textwrap.dedent(LIVING).format(paths=sys.path, folder=str(tmp_path), resume=resume)
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_living_slicers_work_is_not_offered_until_it_is_gone(
    tmp_path: Path, another_slicer: Callable[..., tuple[subprocess.Popen, Path]]
) -> None:
    process, path = another_slicer()
    before = path.read_bytes()
    place = a_place(tmp_path, "anna")
    work = put(place)
    assert place.desk.keeper.offered == []
    assert "Another Slicer" in place.desk.keeper.told_of_others()
    assert not place.desk.resume()
    place.desk.keeper.offered = [path]  # as if it had been offered before the other one began
    assert not place.desk.resume()
    assert "open in another Slicer" in place.hub.status.text
    assert place.desk.keeper.offered == []
    place.desk.keeper.offered = [path]
    place.desk.dismiss_kept()
    assert work.frames == {}
    assert path.read_bytes() == before
    os.kill(process.pid, signal.SIGKILL)  # no good-bye: the system ends the lock
    process.wait()
    put(place)
    assert place.desk.keeper.offered == [path]
    assert place.desk.resume()
    assert sorted(place.desk.work.frames) == [4]
    place.leave()
    assert list((tmp_path / "sessions").iterdir()) == []  # the killed one's lock file too


def test_what_another_slicer_went_on_with_is_offered_no_more(
    tmp_path: Path, another_slicer: Callable[..., tuple[subprocess.Popen, Path]]
) -> None:
    own = left_behind(tmp_path, "anna")
    place = a_place(tmp_path, "anna")
    put(place)
    assert place.desk.keeper.offered == [own]
    _process, theirs = another_slicer(resume=True)
    assert not own.exists()
    assert not place.desk.resume()
    assert place.desk.keeper.offered == []
    assert place.hub.status.kind == "problem"
    assert sorted(read_journal(theirs, 30).frames) == [3, 4]


def test_work_that_cannot_be_read_stays_offered_and_does_not_hide_the_rest(tmp_path: Path) -> None:
    older, newer = left_behind(tmp_path, "anna", 5), left_behind(tmp_path, "anna", 3)
    os.utime(older, (1, 1))
    whole = newer.read_text()
    newer.write_text(whole[:-20])  # whose it is can still be read
    place = a_place(tmp_path, "anna")
    work = put(place)
    assert place.desk.keeper.offered == [newer, older]
    assert not place.desk.resume()
    assert "cannot be read" in place.hub.status.text
    assert set(place.desk.keeper.offered) == {newer, older}
    assert place.desk.resume()  # the other one
    assert sorted(work.frames) == [5]
    assert place.desk.keeper.offered == [newer]
    newer.write_text(whole)  # the disk was away for a moment
    assert place.desk.resume()
    assert sorted(place.desk.work.frames) == [3]


def test_a_disk_without_locks_keeps_and_offers_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(file: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("FetalIQALib.locks._lock", refuses)
    own = left_behind(tmp_path, "anna")
    place = a_place(tmp_path, "anna")
    work = put(place)
    assert place.desk.keeper.offered == [own]
    assert place.desk.resume()
    assert sorted(work.frames) == [3]


def test_two_sessions_do_not_claim_the_same_journal(tmp_path: Path) -> None:
    own = left_behind(tmp_path, "anna")
    one, two = Journals(tmp_path, SERVER), Journals(tmp_path, SERVER)
    one.claim(own)
    one.claim(own)  # again is the same
    assert (one.in_use(own), two.in_use(own)) == (False, True)
    with pytest.raises(FileFailure, match="another Slicer"):
        two.claim(own)
    one.let_go(own)
    two.claim(own)


def test_a_rater_with_odd_letters_is_the_same_one_in_the_next_session(tmp_path: Path) -> None:
    rater = 'Zoë "the eye" \\ 山田'
    journals = Journals(tmp_path, SERVER)
    journals.write(Kept("case_a", "final", rater, "f" * 64, 0, 0, {}))
    assert Journals(tmp_path, SERVER).cases("final", rater) == ["case_a"]

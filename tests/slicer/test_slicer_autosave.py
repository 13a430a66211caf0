"""Autosave: work is offered to the same rater on the same server, unless a running Slicer uses it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_server import an_idle_server
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.case_loading import LoadedCase
from FetalIQALib.client_errors import FileError, InvalidAction
from FetalIQALib.http_client import canonical_address, checked_address
from FetalIQALib.journal import Journals, SavedWork, read_journal
from FetalIQALib.workspace import Workspace
from workspaces import a_sweep, connected, settle

SERVER = "http://127.0.0.1:8000"


def make_workspace(folder: Path, rater: str, server: str = SERVER) -> Workspace:
    """A workspace of one Slicer instance, as after connecting."""
    workspace = Workspace(folder)
    workspace.journals = Journals(folder, server)
    workspace.session.rater = rater
    return workspace


def put(workspace: Workspace) -> CaseAnnotation:
    """Open the case, as received from the server without a label."""
    workspace.controller._show_case_loaded(LoadedCase(a_sweep(), None, {}), workspace.session.tag)
    assert workspace.controller.annotation is not None
    return workspace.controller.annotation


def left_behind(folder: Path, rater: str, frame: int = 3, server: str = SERVER) -> Path:
    """A journal of a Slicer instance that has ended."""
    workspace = make_workspace(folder, rater, server)
    put(workspace)
    assert workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(frame))
    path = workspace.journals.path("case_a", "final")
    workspace.close()
    return path


def test_another_raters_work_is_mentioned_but_neither_offered_nor_changed(tmp_path: Path) -> None:
    theirs = left_behind(tmp_path, "ben")
    before = theirs.read_bytes()
    anna = make_workspace(tmp_path, "anna")
    put(anna)
    assert anna.controller.autosave.offered == []
    assert "ben" in anna.controller.autosave.other_work_message()
    assert not anna.controller.resume()
    assert type(anna.session.status.error) is InvalidAction
    assert "ben" in anna.session.status.text
    assert anna.journals.cases("final", "anna") == []
    anna.controller.dismiss_saved_work()
    anna.controller.apply("empty", lambda annotation: annotation.mark_empty(9))
    anna.controller.autosave.remove_submitted("case_a", "final", anna.journals)
    anna.close()
    assert theirs.read_bytes() == before
    ben = make_workspace(tmp_path, "ben")
    put(ben)
    assert ben.controller.autosave.offered == [theirs]
    assert ben.controller.resume()
    assert sorted(ben.controller.annotation.frames) == [3]


def test_another_raters_work_is_not_resumed_even_if_offered(tmp_path: Path) -> None:
    theirs = left_behind(tmp_path, "ben")
    anna = make_workspace(tmp_path, "anna")
    annotation = put(anna)
    anna.controller.autosave.offered = [theirs]
    assert not anna.controller.resume()
    assert type(anna.session.status.error) is FileError
    assert "ben" in anna.session.status.text
    assert theirs.exists()
    assert annotation.frames == {}


def test_of_two_raters_work_only_ones_own_is_resumed(tmp_path: Path) -> None:
    theirs, own = left_behind(tmp_path, "ben", 3), left_behind(tmp_path, "anna", 5)
    os.utime(theirs)  # the newest one
    anna = make_workspace(tmp_path, "anna")
    annotation = put(anna)
    assert anna.controller.autosave.offered == [own]
    assert anna.controller.resume()
    assert sorted(annotation.frames) == [5]
    assert theirs.exists()


def test_another_rater_in_the_same_slicer_does_not_resume_the_work(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, "anna")
    put(workspace)
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(3))
    path = workspace.journals.path("case_a", "final")
    workspace.controller.close()
    workspace.session.rater = "ben"
    annotation = put(workspace)
    assert annotation.frames == {}
    assert workspace.controller.autosave.offered == []
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(9))
    workspace.controller.close()
    workspace.session.rater = "anna"
    annotation = put(workspace)
    assert workspace.controller.resume()
    assert sorted(annotation.frames) == [3]
    assert json.loads(path.read_text())["rater"] == "anna"


def test_connecting_under_another_name_leaves_the_work_to_its_rater(tmp_path: Path) -> None:
    fake = an_idle_server()
    workspace = connected(tmp_path, fake.url, rater="")
    put(workspace)
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(3))
    path = workspace.journals.path("case_a", "final")
    for rater, is_current, whose in (("anna", True, "anna"), ("anna", True, "anna"), ("ben", False, "anna")):
        assert workspace.connect(fake.url.replace("127.0.0.1", "LocalHost") + "/", rater=rater)  # the same server
        settle(workspace)
        assert (workspace.controller.annotation is not None) == is_current
        workspace.pump()
        assert json.loads(path.read_text())["rater"] == whose  # a name that was forgotten is filled in
    assert workspace.worklist.shown("in progress") == []  # anna's, not ben's
    fake.close()


@pytest.mark.parametrize(
    "spelling",
    ["HTTP://127.0.0.1:8000/", "http://LocalHost:8000", "localhost:8000//", "http://[::1]:8000", "127.0.0.1:8000"],
)
def test_another_spelling_of_the_address_finds_the_same_work(tmp_path: Path, spelling: str) -> None:
    own = left_behind(tmp_path, "anna")
    workspace = make_workspace(tmp_path, "anna", spelling)
    put(workspace)
    assert workspace.controller.autosave.offered == [own]


def test_addresses_have_one_spelling_and_other_servers_stay_apart() -> None:
    assert checked_address(" HTTPS://Clinic.Example:443/Label/ ") == "https://clinic.example/Label"
    assert checked_address("Clinic.example:80/") == "http://clinic.example"
    assert checked_address("http://[::1]:8000/") == "http://[::1]:8000"
    assert checked_address("localhost:8000") == "http://localhost:8000"  # asked as it was written
    others = ["http://a:1", "http://a:2", "https://a:1", "http://a:1/one", "http://b:1", "http://127.0.0.1:1"]
    assert len({canonical_address(one) for one in others}) == len(others)


def test_work_saved_under_an_old_spelling_is_found_and_resumed(tmp_path: Path) -> None:
    """Earlier versions of the module named the folder after the address as it was typed."""
    path = left_behind(tmp_path, "anna")
    old = tmp_path / hashlib.sha256(b"http://LOCALHOST:8000").hexdigest()[:16]
    path.parent.rename(old)
    kept = old / path.name
    kept.write_text(kept.read_text().replace(SERVER, "http://LOCALHOST:8000"))
    (old / "another~final~00000000.journal.json").write_text("{")  # damage of one file hides no other
    workspace = make_workspace(tmp_path, "anna")
    assert workspace.journals.cases("final", "anna") == ["case_a"]
    annotation = put(workspace)
    assert workspace.controller.autosave.offered == [kept]
    assert workspace.controller.resume()
    assert sorted(annotation.frames) == [3]
    assert workspace.journals.path("case_a", "final").parent != old
    assert not kept.exists()  # put aside
    assert len(list((old / "archived").iterdir())) == 1
    other = make_workspace(tmp_path, "anna", "http://elsewhere:8000")
    put(other)
    assert other.controller.autosave.offered == []


LIVING = """
    import sys, time
    sys.path[:0] = {paths!r}
    from pathlib import Path
    from test_slicer_autosave import make_workspace, put
    workspace = make_workspace(Path({folder!r}), "anna")
    put(workspace)
    if {resume}:
        assert workspace.controller.resume(), workspace.session.status
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(4))
    print(workspace.journals.path("case_a", "final"), flush=True)
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


def test_the_work_of_a_running_slicer_is_not_offered_until_it_ends(
    tmp_path: Path, another_slicer: Callable[..., tuple[subprocess.Popen, Path]]
) -> None:
    process, path = another_slicer()
    before = path.read_bytes()
    workspace = make_workspace(tmp_path, "anna")
    annotation = put(workspace)
    assert workspace.controller.autosave.offered == []
    assert workspace.controller.autosave.other_work_message()
    assert not workspace.controller.resume()
    workspace.controller.autosave.offered = [path]  # as if it had been offered before the other one began
    assert not workspace.controller.resume()
    assert type(workspace.session.status.error) is FileError
    assert workspace.controller.autosave.offered == []
    workspace.controller.autosave.offered = [path]
    workspace.controller.dismiss_saved_work()
    assert annotation.frames == {}
    assert path.read_bytes() == before
    os.kill(process.pid, signal.SIGKILL)  # no good-bye: the system ends the lock
    process.wait()
    put(workspace)
    assert workspace.controller.autosave.offered == [path]
    assert workspace.controller.resume()
    assert sorted(workspace.controller.annotation.frames) == [4]
    workspace.close()
    assert list((tmp_path / "sessions").iterdir()) == []  # the killed one's lock file too


def test_work_that_another_slicer_resumed_is_not_offered(
    tmp_path: Path, another_slicer: Callable[..., tuple[subprocess.Popen, Path]]
) -> None:
    own = left_behind(tmp_path, "anna")
    workspace = make_workspace(tmp_path, "anna")
    put(workspace)
    assert workspace.controller.autosave.offered == [own]
    _process, theirs = another_slicer(resume=True)
    assert not own.exists()
    assert not workspace.controller.resume()
    assert workspace.controller.autosave.offered == []
    assert workspace.session.status.kind == "problem"
    assert sorted(read_journal(theirs, 30).frames) == [3, 4]


def test_work_that_cannot_be_read_stays_offered_and_does_not_hide_the_rest(tmp_path: Path) -> None:
    older, newer = left_behind(tmp_path, "anna", 5), left_behind(tmp_path, "anna", 3)
    os.utime(older, (1, 1))
    complete = newer.read_text()
    newer.write_text(complete[:-20])  # whose it is can still be read
    workspace = make_workspace(tmp_path, "anna")
    annotation = put(workspace)
    assert workspace.controller.autosave.offered == [newer, older]
    assert not workspace.controller.resume()
    assert type(workspace.session.status.error) is FileError
    assert newer.name in workspace.session.status.text
    assert set(workspace.controller.autosave.offered) == {newer, older}
    assert workspace.controller.resume()  # the other one
    assert sorted(annotation.frames) == [5]
    assert workspace.controller.autosave.offered == [newer]
    newer.write_text(complete)  # the disk was away for a moment
    assert workspace.controller.resume()
    assert sorted(workspace.controller.annotation.frames) == [3]


def test_without_lock_support_work_is_saved_and_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(file: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("FetalIQALib.file_locks._lock", refuses)
    own = left_behind(tmp_path, "anna")
    workspace = make_workspace(tmp_path, "anna")
    annotation = put(workspace)
    assert workspace.controller.autosave.offered == [own]
    assert workspace.controller.resume()
    assert sorted(annotation.frames) == [3]


def test_two_sessions_do_not_claim_the_same_journal(tmp_path: Path) -> None:
    own = left_behind(tmp_path, "anna")
    one, two = Journals(tmp_path, SERVER), Journals(tmp_path, SERVER)
    one.claim(own)
    one.claim(own)  # again is the same
    assert (one.in_use(own), two.in_use(own)) == (False, True)
    with pytest.raises(FileError, match=re.escape(str(own))):
        two.claim(own)
    one.release_claim(own)
    two.claim(own)


def test_a_rater_with_odd_letters_is_the_same_one_in_the_next_session(tmp_path: Path) -> None:
    rater = 'Zoë "the eye" \\ 山田'
    journals = Journals(tmp_path, SERVER)
    journals.write(SavedWork("case_a", "final", rater, "f" * 64, 0, 0, {}))
    assert Journals(tmp_path, SERVER).cases("final", rater) == ["case_a"]

"""Requests for the same assessment at the same time: computed once, and kept under the key it belongs to."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from students import save_student

from fetaliqa.errors import OptionError, RequestStopped
from fetaliqa.inference import AssessOptions
from fetaliqa.inference.shared_requests import SharedWork
from fetaliqa.model import Bundle
from fetaliqa.registry import AssessmentService, assessment_service

SECONDS = 60  # before a test gives up waiting


@pytest.fixture(scope="module")
def case_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("case") / "case.mha"
    frames = np.random.default_rng(0).integers(20, 255, (12, 60, 80), dtype=np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(path))
    return path


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """Case ids, one for each assessment that is computed."""
    made: list[str] = []
    compute = assessment_service.assess

    def counting(sweep, *args, **how):
        made.append(sweep.case_id)
        return compute(sweep, *args, **how)

    monkeypatch.setattr(assessment_service, "assess", counting)
    return made


def made_while_it_runs(first: AssessmentService, path: Path, second: AssessmentService, other: Path):
    """Results of two requests, the second made while the first one is computed."""
    with ThreadPoolExecutor(1) as pool:
        following: list[Future] = []
        second_is_at_it = threading.Event()

        def progress(done: int, total: int) -> None:
            if not following:
                following.append(pool.submit(second.assess, other, None, lambda *_: second_is_at_it.set()))
                second_is_at_it.wait(SECONDS)

        return first.assess(path, None, progress), following[0].result(SECONDS)


@pytest.mark.parametrize("cached", [True, False])
def test_two_requests_for_a_file_at_the_same_time_are_computed_once(
    random_bundle, case_file, tmp_path, computed, cached
):
    cache = tmp_path / "cache" if cached else None
    one = AssessmentService(random_bundle.directory, cache_dir=cache, device="cpu")
    first, second = made_while_it_runs(one, case_file, one, case_file)
    assert computed == ["case"]
    assert (first.cached, second.cached) == (False, True)
    assert first.assessment == second.assessment
    np.testing.assert_array_equal(first.masks, second.masks)
    assert (first.profile is None) == (second.profile is None)


def test_a_copy_of_the_file_gets_the_same_assessment_under_its_own_name(
    random_bundle, case_file, tmp_path, computed
):
    copy = tmp_path / "copy.mha"
    copy.write_bytes(case_file.read_bytes())
    one = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    first, second = made_while_it_runs(one, case_file, one, copy)
    assert len(computed) == 1
    assert (first.assessment["case_id"], second.assessment["case_id"]) == ("case", "copy")


def test_services_that_share_a_cache_folder_compute_once(random_bundle, case_file, tmp_path, computed):
    """As two processes do: a lock on a file of the folder knows nothing of threads."""
    one, two = (
        AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu") for _ in range(2)
    )
    with ThreadPoolExecutor(1) as pool:
        following: list[Future] = []
        looked: list[bool] = []
        waits = threading.Event()

        def stopped() -> bool:  # asked by who waits
            looked.append(True)
            waits.set()
            return False

        def progress(done: int, total: int) -> None:
            if not following:
                following.append(pool.submit(two.assess, case_file, stopped=stopped))
                waits.wait(SECONDS)

        first = one.assess(case_file, None, progress)
        second = following[0].result(SECONDS)
    assert computed == ["case"]
    assert (first.cached, second.cached) == (False, True)


def test_a_cache_folder_that_cannot_be_locked_is_used_all_the_same(
    random_bundle, case_file, tmp_path, computed, monkeypatch
):
    def no_locks(*_args, **_how):
        raise NotImplementedError

    monkeypatch.setattr("fetaliqa.inference.shared_requests.FileLock", no_locks)
    one = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    assert not one.assess(case_file).cached
    assert one.assess(case_file).cached


def test_a_request_that_was_given_up_is_not_computed_to_its_end(random_bundle, case_file, tmp_path):
    one = AssessmentService(random_bundle.directory, cache_dir=tmp_path / "cache", device="cpu")
    with pytest.raises(RequestStopped):
        one.assess(case_file, stopped=lambda: True)
    assert one.cached(case_file) is None


def test_a_student_that_appears_while_frames_are_searched_gets_no_answer_that_it_had_no_part_in(
    random_bundle, case_file, tmp_path
):
    bundle = Bundle.open(_copied(random_bundle.directory, tmp_path / "bundle"))
    search = AssessOptions(search=True)
    one = AssessmentService(bundle.directory, cache_dir=tmp_path / "cache", device="cpu")

    def distilled_meanwhile(done: int, total: int) -> None:
        if not (bundle.directory / "student").exists():
            save_student(bundle.directory / "student", bundle)

    without = one.assess(case_file, search, distilled_meanwhile)
    assert without.assessment["student"] is None
    assert "student" in one.made_with(search)  # the next request goes with it
    assert one.cached(case_file, search) is None
    assert one.assess(case_file, search).assessment["student"] is not None


def _copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


class Shared:
    """Two requests for the same piece of work, the second one waiting when the work goes on."""

    def __init__(self) -> None:
        self.work: SharedWork[str] = SharedWork()
        self.computed = 0
        self.second_waits, self.first_has_ended = threading.Event(), threading.Event()

    def compute(self, report) -> str:
        self.computed += 1
        assert self.second_waits.wait(SECONDS)
        for done in range(3):
            report(done, 3)
        return f"value {self.computed}"

    def waiting(self, gone: bool = False):
        """Whether the second request was given up; who is asked is waiting."""

        def stopped() -> bool:
            self.second_waits.set()
            return gone

        return stopped

    def run(self, compute, second_gone: bool = False, **first):
        """Outcomes, values or errors, of both."""
        begun = threading.Event()

        def first_compute(report):
            begun.set()
            return compute(report)

        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(self.work.run, "key", first_compute, **first)
            assert begun.wait(SECONDS)
            two = pool.submit(self.work.run, "key", compute, stopped=self.waiting(second_gone))
            return [future.exception(SECONDS) or future.result() for future in (one, two)]


def test_an_error_reaches_all_who_wait():
    shared = Shared()

    def damaged(report):
        shared.compute(report)
        raise OptionError("it cannot be used")

    outcomes = shared.run(damaged)
    assert [str(outcome) for outcome in outcomes] == ["it cannot be used"] * 2
    assert shared.computed == 1


def test_who_waits_gets_the_answer_though_the_first_who_asked_has_gone():
    shared = Shared()
    assert shared.run(shared.compute, stopped=shared.second_waits.is_set) == [
        ("value 1", True),
        ("value 1", False),
    ]


def test_who_waits_gets_the_answer_though_the_first_one_s_callback_fails():
    """An export that was cancelled ends at its next progress."""
    shared = Shared()

    def cancelled(done, total):
        raise OptionError("cancelled")

    first, second = shared.run(shared.compute, progress=cancelled)
    assert str(first) == "cancelled"
    assert second == ("value 1", False)


def test_work_that_nobody_wants_any_more_is_given_up():
    shared = Shared()
    first, second = shared.run(shared.compute, second_gone=True, stopped=shared.second_waits.is_set)
    assert isinstance(first, RequestStopped)
    assert isinstance(second, RequestStopped)
    assert shared.computed == 1


def test_who_waited_for_one_that_was_interrupted_computes_itself():
    shared = Shared()

    def interrupted_once(report):
        value = shared.compute(report)
        if shared.computed == 1:
            raise KeyboardInterrupt
        return value

    first, second = shared.run(interrupted_once)
    assert isinstance(first, KeyboardInterrupt)
    assert second == ("value 2", True)


def test_what_was_computed_before_is_computed_again_when_it_is_asked_for_again():
    work: SharedWork[int] = SharedWork()
    assert [work.run("key", lambda report, value=value: value) for value in (1, 2)] == [(1, True), (2, True)]

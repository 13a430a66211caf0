"""Scores cases one by one in this process, and writes the folder of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fetaliqa.batch.batch_job import FAILED, SCORED, SKIPPED, Case, Outcome, ScoreJob
from fetaliqa.batch.case_folder import write_case
from fetaliqa.batch.case_summary import summary_row
from fetaliqa.batch.done_marker import Marker, age_of, input_sha256, input_state, is_done
from fetaliqa.errors import BundleError, FetalIQAError, WeightsError
from fetaliqa.inference.assessment import Progress
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.registry import AssessmentService


class Scorer:
    """Scores the cases of a job; the model is loaded for the first case.

    Args:
        job: the cases' options and destination.
        service: opened from the job's setup.
    """

    def __init__(self, job: ScoreJob, service: AssessmentService) -> None:
        self.job, self._service = job, service

    @classmethod
    def open(cls, job: ScoreJob, device: str | None = None) -> Scorer:
        """A scorer in another process than the one that made the job.

        Args:
            job: to score cases of.
            device: of this process, when not the job's.

        Raises:
            BundleError: when assessments computed here would differ: another bundle, or version of fetaliqa.
            OptionError: when the device does not exist here.
        """
        service = AssessmentService(replace(job.setup, device=device or job.setup.device))
        expected, actual = job.made_with, service.made_with()
        different = [name for name in {**expected, **actual} if actual.get(name) != expected.get(name)]
        if different:
            raise BundleError(
                f"the {' and '.join(different)} of a process of this run differ from those that it started with; "
                "every machine needs the same fetaliqa and the same bundle"
            )
        return cls(job, service)

    def score(self, case: Case, progress: Progress | None = None) -> Outcome:
        """Score a case, unless it is completed already.

        Args:
            case: to score.
            progress: called with (frames done, frames in all).

        Raises:
            BundleError: when the model cannot be loaded.
            WeightsError: when its weights are not here.
            OSError: when the results cannot be written.
        """
        if is_done(self.job, case):
            return Outcome(case, SKIPPED)
        state = input_state(case.path)  # before reading: a file replaced meanwhile gets no false marker
        try:
            if self.job.also is not None:
                self.job.also.check_input(case.path)
            result = self._service.assess(case.path, progress=progress, age=case.age)
        except (BundleError, WeightsError):
            raise  # all other cases would fail as well
        except FetalIQAError as problem:
            return Outcome(case, FAILED, str(problem))
        if self.job.out is None:
            return Outcome(case, SCORED, record=result.assessment)
        try:
            note = self._write(case, state, result)
        except FetalIQAError as problem:
            return Outcome(case, FAILED, str(problem))
        return Outcome(case, SCORED, note=note)

    def _write(self, case: Case, state: dict[str, Any], result: AssessmentResult) -> str | None:
        job = self.job
        assert job.out is not None
        marker = Marker(
            input=state,
            sha256=input_sha256(case.path, state),
            made_with=job.made_with,
            mask_format=job.mask_format,
            files={},
            summary=summary_row(result.assessment),
            run=job.run,
            age=age_of(case),
            also=None if job.also is None else job.also.name,
        )
        return write_case(job.out / case.name, case.path, result, marker, job.also)

"""Scores cases one after the other in this process, and writes each one's folder."""

from __future__ import annotations

from typing import Any

from fetaliqa.batch.batch_job import FAILED, KEPT, SCORED, Case, Outcome, ScoreJob
from fetaliqa.batch.case_folder import write_case
from fetaliqa.batch.case_summary import summary_row
from fetaliqa.batch.done_marker import Marker, input_sha256, input_state, is_done
from fetaliqa.errors import BundleError, FetalIQAError, WeightsError
from fetaliqa.inference.assessment import Progress
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.registry import AssessmentService


class Scorer:
    """A job's model, loaded when the first case needs it.

    Args:
        job: what to do.
        device: this process' own, when not the job's.

    Raises:
        BundleError: when assessments made here would be others than the job asks for: another model or version.
        OptionError: when the device does not exist here.
    """

    def __init__(self, job: ScoreJob, device: str | None = None) -> None:
        self.job = job
        self._service = AssessmentService(
            job.model,
            classifier_spec=job.classifier,
            device=device or job.device,
            cache_dir=job.cache_dir,
            weights=job.weights,
            precision=job.made_with["precision"],
            student=job.student,
        )
        here = self._service.made_with(job.options)
        others = [name for name in {**job.made_with, **here} if here.get(name) != job.made_with.get(name)]
        if others:
            raise BundleError(
                f"the {' and '.join(others)} found by a process of this run differ from what it began with; "
                "every machine needs the same fetaliqa and the same bundle"
            )

    def score(self, case: Case, progress: Progress | None = None) -> Outcome:
        """Score a case, unless it is done.

        Args:
            case: which.
            progress: called with (frames done, frames in all).

        Raises:
            BundleError: when the model cannot be loaded.
            WeightsError: when its weights are not here.
            OSError: when the results cannot be written.
        """
        if is_done(self.job, case):
            return Outcome(case, KEPT)
        state = input_state(case.path)  # before reading: a file replaced meanwhile gets no false marker
        try:
            result = self._service.assess(case.path, self.job.options, progress)
        except (BundleError, WeightsError):
            raise  # all other cases would fail alike
        except FetalIQAError as problem:
            return Outcome(case, FAILED, str(problem))
        if self.job.out is None:
            return Outcome(case, SCORED, record=result.assessment)
        self._write(case, state, result)
        return Outcome(case, SCORED)

    def _write(self, case: Case, state: dict[str, Any], result: AssessmentResult) -> None:
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
        )
        write_case(job.out / case.name, result, marker)

"""Assesses files with one bundle: the model is loaded on first use, and results are cached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.errors import RequestStopped
from fetaliqa.inference.assessment import (
    Assessment,
    Progress,
    assess,
    model_info,
)
from fetaliqa.inference.assessment_cache import (
    AssessmentCache,
    KnownContent,
    file_identity,
)
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.inference.chunk_prediction import TORCH, FramePredictor, told_of_full_device
from fetaliqa.inference.shared_requests import SharedWork, Stopped, alone
from fetaliqa.measure.fetal_growth import GestationalAge
from fetaliqa.measure.plausibility import case_notes
from fetaliqa.registry.assessment_request import AssessmentRequest
from fetaliqa.registry.assessment_setup import AssessmentSetup
from fetaliqa.registry.growth_of_file import growth_of_file
from fetaliqa.sweep import Sweep, read_sweep

if TYPE_CHECKING:
    from fetaliqa.registry.opened_graph import OpenedGraph
    from fetaliqa.registry.opened_model import OpenedModel


class AssessmentService:
    """Assesses files with one bundle.

    Args:
        setup: the resolved bundle, student, options and device; or what :meth:`AssessmentSetup.resolve` takes.
        settings: of :meth:`AssessmentSetup.resolve`, where ``setup`` names a bundle.

    Attributes:
        setup: what sweeps are assessed with.
        opened: the bundle, classifier and student of the setup.

    Raises:
        NotFoundError, BundleError: when the bundle, the classifier or the student cannot be used.
    """

    def __init__(self, setup: AssessmentSetup | str | Path, **settings: Any) -> None:
        if not isinstance(setup, AssessmentSetup):
            setup = AssessmentSetup.resolve(setup, **settings)
        self.setup = setup
        self.opened = _opened(setup)
        self._cache = None if setup.cache_dir is None else AssessmentCache(setup.cache_dir, setup.cache_bytes)
        self._work: SharedWork[AssessmentResult] = SharedWork()

    @property
    def card(self) -> Any:
        """The bundle's card."""
        return self.opened.card

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the bundle."""
        return self.opened.fingerprint

    def model_info(self) -> dict[str, Any]:
        """Name, version, task, anatomy and measurement, without loading the model."""
        return model_info(self.card)

    def check(self) -> None:
        """Check that the foundation-model weights are here, see :meth:`OpenedModel.check`."""
        self.opened.check()

    def load(self) -> FramePredictor:
        """The model, loaded on the first call, see :meth:`OpenedModel.load`."""
        return self.opened.load()

    def computed_on(self) -> dict[str, str | None]:
        """Device, card and precision as JSON values, see :meth:`OpenedModel.computed_on`."""
        return self.opened.computed_on()

    def made_with(self, options: AssessOptions | None = None, device: str | None = None) -> dict[str, Any]:
        """What an assessment depends on besides the sweep, as JSON-able values.

        Args:
            options: of the assessment; None for the setup's.
            device: another one than this service's, which need not exist here.

        Raises:
            OptionError: when the service's device does not exist here.
        """
        return self.opened.request(options or self.setup.options, device).made_with

    def check_options(self, options: AssessOptions) -> None:
        """Check options before any sweep is read.

        Raises:
            OptionError: when this service does not support them.
        """
        self.opened.student_for(options)

    def cached(
        self, path: Path, options: AssessOptions | None = None, age: GestationalAge | None = None
    ) -> AssessmentResult | None:
        """The cached assessment of a file, or None; reads no pixels. The age is as for :meth:`assess`.

        Raises:
            OptionError: see :meth:`check_options`.
        """
        request = self.opened.request(options or self.setup.options)
        known = self._known(Path(path), request, file_identity(Path(path), request.options.sweep_count))
        if known is not None:
            known.assessment["growth"] = growth_of_file(Path(path), known.assessment["measurement"], age)
        return known

    def _known(self, path: Path, request: AssessmentRequest, identity: str | None) -> AssessmentResult | None:
        """The cached assessment of a file whose content is known by its identity, or None."""
        content = None if self._cache is None else self._cache.known_content(identity)
        return None if content is None else self._stored(path, request, content, None)

    def assess(
        self,
        path: Path,
        options: AssessOptions | None = None,
        progress: Progress | None = None,
        *,
        with_profile: bool = False,
        stopped: Stopped | None = None,
        age: GestationalAge | None = None,
    ) -> AssessmentResult:
        """Assess the sweep file (or folder of frames) at ``path``.

        Simultaneous requests for the same pixels and options are computed once, also in several processes that
        share a cache folder.

        Args:
            path: of the file.
            options: which part, and how; None for the setup's.
            progress: called with (frames done, frames in all).
            with_profile: compute again when the cached assessment has no profile.
            stopped: asked after each batch whether this request was cancelled; the computation goes on when other
                requests wait for it.
            age: of the fetus, for the record's ``growth``; None for the age that a DICOM header gives.

        Raises:
            FetalIQAError: when the file cannot be used, or the options do not fit it.
            DeviceFull: when the device has no memory for a single frame.
            RequestStopped: when the request was cancelled.
        """
        path = Path(path)
        result = self._assessed(path, options, progress, with_profile, stopped)
        result.assessment["growth"] = growth_of_file(path, result.assessment["measurement"], age)
        return result

    def _assessed(
        self,
        path: Path,
        options: AssessOptions | None,
        progress: Progress | None,
        with_profile: bool,
        stopped: Stopped | None,
    ) -> AssessmentResult:
        request = self.opened.request(options or self.setup.options)

        def usable(result: AssessmentResult | None) -> AssessmentResult | None:
            return None if result is None or (with_profile and result.profile is None) else result

        # the identity is taken before reading: a file replaced meanwhile gets no false record
        identity = file_identity(path, request.options.sweep_count)
        if (known := usable(self._known(path, request, identity))) is not None:
            return known
        if stopped is not None and stopped():
            raise RequestStopped()
        sweep = read_sweep(path, sweeps=request.options.sweep_count)
        if self._cache is None:
            # a file with an identity is not hashed here: its pixels are hashed while frames are computed
            key = request.key(identity or sweep.content_hash)
        else:
            key = request.key(sweep.content_hash)
            self._cache.remember_content(identity, KnownContent.of(sweep))

        def compute(report: Progress) -> AssessmentResult:
            if self._cache is None:
                return self._computed(path, request, sweep, report)
            with alone(self._cache.lock_for(key), lambda: report(0, sweep.frame_count)):
                # another process, or a request that has just ended, may have stored it
                stored = usable(self._stored(path, request, KnownContent.of(sweep), sweep))
                return stored or self._computed(path, request, sweep, report)

        result, here = self._work.run(key, compute, progress, stopped)
        return result if here else result.of_other_file(path, sweep)

    def _computed(
        self, path: Path, request: AssessmentRequest, sweep: Sweep, progress: Progress
    ) -> AssessmentResult:
        predictor = self.load()

        def assessed() -> Assessment:
            classifier, student = self.opened.classifier, request.student
            return assess(
                sweep, predictor, request.options, classifier=classifier, student=student, progress=progress
            )

        result = told_of_full_device(assessed, predictor)
        key = request.key(sweep.content_hash)
        if self._cache is not None:
            arrays = None if result.profile is None else result.profile.arrays()
            self._cache.put(key, result.record, result.masks, arrays)
        answer = AssessmentResult(
            result.record, False, path, request.options, None, result.masks, sweep, self._cache, key, sweep.grid
        )
        answer.profile = result.profile
        return answer

    def _stored(
        self, path: Path, request: AssessmentRequest, content: KnownContent, sweep: Sweep | None
    ) -> AssessmentResult | None:
        if self._cache is None:
            return None
        options, requests = request.options, [request]
        if options.screened:  # an assessment of every frame serves as well, and is preferred
            requests.insert(0, self.opened.request(replace(options, search=False, screen=False)))
        for possible in requests:
            key = possible.key(content.content_hash)
            stored = self._cache.get(key)
            if stored is not None:
                break
        else:
            return None
        record, packed = stored
        # case name and notes are of this file: the stored entry may be of another file with equal pixels
        record["case_id"] = content.case_id
        record["notes"] = case_notes(content.notes, record["frames"], record["model"]["anatomy"])
        return AssessmentResult(record, True, path, options, packed, None, sweep, self._cache, key, content.grid)


def _opened(setup: AssessmentSetup) -> OpenedModel | OpenedGraph:
    if setup.runtime == TORCH:
        from fetaliqa.registry.opened_model import OpenedModel

        return OpenedModel(setup)
    from fetaliqa.registry.opened_graph import OpenedGraph

    return OpenedGraph(setup)

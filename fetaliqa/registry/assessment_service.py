"""Assesses files with one bundle: the model is loaded on first use, and results are cached."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fetaliqa import __version__
from fetaliqa.errors import BundleError, OptionError, RequestStopped
from fetaliqa.inference.assessment import (
    ASSESSMENT_REVISION,
    ASSESSMENT_SCHEMA,
    Assessment,
    Progress,
    assess,
    model_info,
)
from fetaliqa.inference.assessment_cache import (
    AssessmentCache,
    KnownContent,
    cache_key,
    file_identity,
)
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.batch_halving import told_when_full
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.inference.case_screen import screen_floor
from fetaliqa.inference.devices import card_name, choose_device
from fetaliqa.inference.precision import chosen_precision
from fetaliqa.inference.predictor import Predictor
from fetaliqa.inference.shared_requests import SharedWork, Stopped, alone
from fetaliqa.inference.student import Student, open_student
from fetaliqa.measure.plausibility import case_notes
from fetaliqa.model import Bundle
from fetaliqa.model.bundle_names import AUTO, STUDENT_FOLDER
from fetaliqa.registry.assessment_setup import AssessmentSetup
from fetaliqa.sweep import Sweep, read_sweep


@dataclass(frozen=True)
class _Request:
    """Options and student of one request, fixed at its start, so that its result is cached under the right key.

    Attributes:
        options: of the assessment.
        student: screening model, or None.
        made_with: all that the assessment depends on besides the sweep, see :meth:`AssessmentService.made_with`.
    """

    options: AssessOptions
    student: Student | None
    made_with: dict[str, Any]

    def key(self, content_hash: str) -> str:
        """Key of the assessment in the cache."""
        how = self.made_with
        computed = (how["schema"], how["revision"], how["version"], how["device"], how["precision"])
        screened = (how["student"],) if "student" in how else ()
        return cache_key(*computed, content_hash, how["model"], how["classifier"], how["options"], *screened)


class AssessmentService:
    """Assesses files with one bundle.

    Args:
        setup: the resolved bundle, student, options and device; or what :meth:`AssessmentSetup.resolve` takes.
        settings: of :meth:`AssessmentSetup.resolve`, where ``setup`` names a bundle.

    Attributes:
        setup: what sweeps are assessed with.

    Raises:
        NotFoundError, BundleError: when the bundle, the classifier or the student cannot be used.
    """

    def __init__(self, setup: AssessmentSetup | str | Path, **settings: Any) -> None:
        if not isinstance(setup, AssessmentSetup):
            setup = AssessmentSetup.resolve(setup, **settings)
        self.setup = setup
        self._bundle = Bundle.open(setup.bundle)
        self._student = open_student(setup.student, self._bundle, setup.device)
        self._waits_for_student = setup.student == AUTO and not (setup.bundle / STUDENT_FOLDER).is_dir()
        self._classifier_bundle = None if setup.classifier is None else Bundle.open(setup.classifier)
        if self._classifier_bundle is not None and self._classifier_bundle.card.task != "classification":
            raise BundleError(
                f"{setup.classifier}: a {self._classifier_bundle.card.task} bundle; a classifier is needed"
            )
        self._selected_device: torch.device | None = None  # chosen once, for requests and the loaded model
        self._cache = None if setup.cache_dir is None else AssessmentCache(setup.cache_dir, setup.cache_bytes)
        self._lock = threading.Lock()
        self._work: SharedWork[AssessmentResult] = SharedWork()
        self._predictor: Predictor | None = None
        self._classifier: Predictor | None = None

    @property
    def card(self) -> Any:
        """The bundle's card."""
        return self._bundle.card

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the bundle."""
        return self._bundle.fingerprint

    def model_info(self) -> dict[str, Any]:
        """Name, version, task, anatomy and measurement, without loading the model."""
        return model_info(self._bundle.card)

    def check(self) -> None:
        """Check that the foundation-model weights the bundles need are here, without loading them.

        Raises:
            WeightsError: when there are none.
            BundleError: when they are others.
        """
        for bundle in (self._bundle, self._classifier_bundle):
            if bundle is not None and self.setup.weights is None:
                bundle.check_base()

    def load(self) -> Predictor:
        """The loaded model; loads it on the first call.

        Raises:
            DeviceFull: when the device has no memory for it.
        """
        with self._lock:
            if self._predictor is None:
                classifier = None
                if self._classifier_bundle is not None:
                    classifier = self._load(self._classifier_bundle)
                predictor = self._load(self._bundle)
                self._predictor, self._classifier = predictor, classifier  # both, or neither
            return self._predictor

    def _load(self, bundle: Bundle) -> Predictor:
        def load() -> Predictor:
            return Predictor(bundle, str(device), weights=self.setup.weights, precision=self.setup.precision)

        device = self._chosen_device()
        return told_when_full(load, device)

    def _chosen_device(self) -> torch.device:
        if self._selected_device is None:
            self._selected_device = choose_device(self.setup.device)
        return self._selected_device

    def computed_on(self) -> dict[str, str | None]:
        """``device``, the name of its ``card`` (None for a CPU) and the encoder's ``precision``, as JSON values.

        Raises:
            OptionError: when the device does not exist here, or cannot be used.
        """
        device = self._chosen_device()
        return {"device": str(device), "card": card_name(device), "precision": self._precision_on(device)}

    def made_with(
        self, options: AssessOptions | None = None, device: torch.device | None = None
    ) -> dict[str, Any]:
        """What an assessment depends on besides the sweep, as JSON-able values.

        Args:
            options: of the assessment; None for the setup's.
            device: another one than this service's, which need not exist here.

        Raises:
            OptionError: when the service's device does not exist here.
        """
        return self._request(options or self.setup.options, device).made_with

    def _request(self, options: AssessOptions, device: torch.device | None = None) -> _Request:
        """A request with these options, at this time.

        Raises:
            OptionError: when frames cannot be screened without a student, or the device does not exist here.
        """
        device = device or self._chosen_device()
        student = self._student_for(options)
        made_with = {
            "schema": ASSESSMENT_SCHEMA,
            "revision": ASSESSMENT_REVISION,
            "version": __version__,  # measurements may differ between versions
            "device": device.type,  # a GPU rounds differently
            "precision": self._precision_on(device),
            "model": self._bundle.fingerprint,
            "classifier": None if self._classifier_bundle is None else self._classifier_bundle.fingerprint,
            "options": options.as_dict(),
        }
        if student is not None:
            made_with["student"] = student.fingerprint
        return _Request(options, student, made_with)

    def _student_for(self, options: AssessOptions) -> Student | None:
        """The student that is used with these options.

        A student predicts the quality at the bundle's own threshold and without a classifier; with others there is
        none.

        Raises:
            OptionError: when frames cannot be screened without one.
        """
        own = options.threshold is None and self._classifier_bundle is None
        if options.screen and not own:
            raise OptionError(
                "screen: screening models support neither a threshold nor a classifier; omit these, or omit screen"
            )
        if not options.screened or not own:
            return None
        with self._lock:
            if self._waits_for_student and (self.setup.bundle / STUDENT_FOLDER).is_dir():
                self._student = open_student(AUTO, self._bundle, self.setup.device)  # distilled after the start
                self._waits_for_student = False
            student = self._student
        if options.screen:
            screen_floor(student)
        return student

    def check_options(self, options: AssessOptions) -> None:
        """Check options before any sweep is read.

        Raises:
            OptionError: when this service does not support them.
        """
        self._student_for(options)

    def _precision_on(self, device: torch.device) -> str:
        """From the bundle's card, without loading the model."""
        return chosen_precision(self.setup.precision, device, self._bundle.card.architecture.vision)

    def cached(self, path: Path, options: AssessOptions | None = None) -> AssessmentResult | None:
        """The cached assessment of a file, or None; reads no pixels.

        Raises:
            OptionError: see :meth:`check_options`.
        """
        request = self._request(options or self.setup.options)
        return self._known(Path(path), request, file_identity(Path(path), request.options.sweep_count))

    def _known(self, path: Path, request: _Request, identity: str | None) -> AssessmentResult | None:
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

        Raises:
            FetalIQAError: when the file cannot be used, or the options do not fit it.
            DeviceFull: when the device has no memory for a single frame.
            RequestStopped: when the request was cancelled.
        """
        path = Path(path)
        request = self._request(options or self.setup.options)

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

    def _computed(self, path: Path, request: _Request, sweep: Sweep, progress: Progress) -> AssessmentResult:
        predictor = self.load()

        def assessed() -> Assessment:
            classifier, student = self._classifier, request.student
            return assess(
                sweep, predictor, request.options, classifier=classifier, student=student, progress=progress
            )

        result = told_when_full(assessed, predictor.device)
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
        self, path: Path, request: _Request, content: KnownContent, sweep: Sweep | None
    ) -> AssessmentResult | None:
        if self._cache is None:
            return None
        options, requests = request.options, [request]
        if options.screened:  # an assessment of every frame serves as well, and is preferred
            requests.insert(0, self._request(replace(options, search=False, screen=False)))
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

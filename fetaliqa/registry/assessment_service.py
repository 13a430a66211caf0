"""Assessments by file, computed once: the model is loaded on first use, results come from the cache."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs
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
    DEFAULT_BYTES,
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
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.sweep import Sweep, read_sweep


def default_cache_directory() -> Path:
    """The user's cache folder for assessments."""
    return Path(platformdirs.user_cache_dir("fetaliqa")) / "assessments"


@dataclass(frozen=True)
class _Resolved:
    """What a request is answered with, decided once, so that nothing is kept under a key it does not belong to.

    Attributes:
        options: of the request.
        student: what guesses frames first, None without.
        how: all that the assessment depends on besides the sweep, see :meth:`AssessmentService.made_with`.
    """

    options: AssessOptions
    student: Student | None
    how: dict[str, Any]

    def key(self, content_hash: str) -> str:
        """Of the assessment in the cache."""
        how = self.how
        computed = (how["schema"], how["revision"], how["version"], how["device"], how["precision"])
        screened = (how["student"],) if "student" in how else ()
        return cache_key(*computed, content_hash, how["model"], how["classifier"], how["options"], *screened)


class AssessmentService:
    """Assesses files with one bundle.

    Args:
        bundle_spec: bundle folder, name, ``name@version`` or ``demo``.
        classifier_spec: a classification bundle that joins the quality score, or None.
        device: see :func:`choose_device`.
        cache_dir: folder of cached assessments; None turns caching off.
        cache_bytes: bound on that folder's size.
        weights: foundation-model weights; None uses the user's cache.
        precision: see ``inference.precision``.
        student: what guesses frames first: a folder, ``none``, or ``auto``: the bundle's own, if it has one.
    """

    def __init__(
        self,
        bundle_spec: str | Path,
        *,
        classifier_spec: str | Path | None = None,
        device: str = "auto",
        cache_dir: Path | None = None,
        cache_bytes: int = DEFAULT_BYTES,
        weights: str | None = None,
        precision: str = "auto",
        student: str | Path = AUTO,
    ) -> None:
        self._precision = precision
        self._bundle = Bundle.open(resolve_bundle(bundle_spec))
        self._student = open_student(student, self._bundle, device)
        self._waits_for_student = student == AUTO and not (self._bundle.directory / STUDENT_FOLDER).is_dir()
        self._classifier_bundle = None if classifier_spec is None else Bundle.open(resolve_bundle(classifier_spec))
        if self._classifier_bundle is not None and self._classifier_bundle.card.task != "classification":
            raise BundleError(
                f"{classifier_spec}: a {self._classifier_bundle.card.task} bundle; a classifier is needed"
            )
        self._device = device
        self._place: torch.device | None = None  # chosen once: a request and the loaded model agree
        self._weights = weights
        self._cache = None if cache_dir is None else AssessmentCache(cache_dir, cache_bytes)
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
            if bundle is not None and self._weights is None:
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
                    classifier = self._made(self._classifier_bundle)
                predictor = self._made(self._bundle)
                self._predictor, self._classifier = predictor, classifier  # both, or neither
            return self._predictor

    def _made(self, bundle: Bundle) -> Predictor:
        def made() -> Predictor:
            return Predictor(bundle, str(self._chosen_device()), weights=self._weights, precision=self._precision)

        return told_when_full(made, self._chosen_device())

    def _chosen_device(self) -> torch.device:
        if self._place is None:
            self._place = choose_device(self._device)
        return self._place

    def computed_on(self) -> dict[str, str | None]:
        """``device``, the ``card``'s name (None for a CPU) and the encoder's ``precision``, as JSON values.

        Raises:
            OptionError: when the device does not exist here, or cannot be used.
        """
        device = self._chosen_device()
        return {"device": str(device), "card": card_name(device), "precision": self._precision_on(device)}

    def made_with(self, options: AssessOptions, device: torch.device | None = None) -> dict[str, Any]:
        """What an assessment depends on besides the sweep, as JSON-able values.

        Args:
            options: of the assessment.
            device: another one than this service's, which need not exist here.

        Raises:
            OptionError: when the service's device does not exist here.
        """
        return self._resolved(options, device).how

    def _resolved(self, options: AssessOptions, device: torch.device | None = None) -> _Resolved:
        """What a request with these options is answered with.

        Raises:
            OptionError: when frames cannot be screened without a student, or the device does not exist here.
        """
        device = device or self._chosen_device()
        student = self._student_for(options)
        how = {
            "schema": ASSESSMENT_SCHEMA,
            "revision": ASSESSMENT_REVISION,
            "version": __version__,  # a version may measure otherwise
            "device": device.type,  # a GPU computes in another precision
            "precision": self._precision_on(device),
            "model": self._bundle.fingerprint,
            "classifier": None if self._classifier_bundle is None else self._classifier_bundle.fingerprint,
            "options": options.as_dict(),
        }
        return _Resolved(options, student, how if student is None else {**how, "student": student.fingerprint})

    def _student_for(self, options: AssessOptions) -> Student | None:
        """The student that is used with these options.

        It knows the quality that the bundle gives by itself, at its own threshold, and no other.

        Raises:
            OptionError: when frames cannot be screened without one.
        """
        own = options.threshold is None and self._classifier_bundle is None
        if options.screen and not own:
            raise OptionError(
                "screen: a student knows its model's own threshold, and no classifier; leave these out, or screen"
            )
        if not options.screened or not own:
            return None
        with self._lock:
            if self._waits_for_student and (self._bundle.directory / STUDENT_FOLDER).is_dir():
                self._student = open_student(AUTO, self._bundle, self._device)  # distilled meanwhile
                self._waits_for_student = False
            student = self._student
        if options.screen:
            screen_floor(student)
        return student

    def check_options(self, options: AssessOptions) -> None:
        """Check that this service can do what is asked, before any sweep is read.

        Raises:
            OptionError: when it cannot.
        """
        self._student_for(options)

    def _precision_on(self, device: torch.device) -> str:
        """Told from the bundle's card, without loading the model."""
        return chosen_precision(self._precision, device, self._bundle.card.architecture.vision)

    def cached(self, path: Path, options: AssessOptions | None = None) -> AssessmentResult | None:
        """The assessment of a file that is known and was assessed before; else None. Reads no pixels.

        Raises:
            OptionError: see :meth:`check_options`.
        """
        request = self._resolved(options or AssessOptions())
        return self._known(Path(path), request, file_identity(Path(path), request.options.sweep_count))

    def _known(self, path: Path, request: _Resolved, identity: str | None) -> AssessmentResult | None:
        """The assessment of a file of this identity, when it is known and was assessed before."""
        known = None if self._cache is None else self._cache.known_content(identity)
        return None if known is None else self._found(path, request, known, None)

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

        Requests for the same pixels and options at the same time are computed once, also by several processes that
        share a cache folder.

        Args:
            path: of the file.
            options: which part, and how.
            progress: called with (frames done, frames in all).
            with_profile: whether an assessment that was kept without a profile is made again.
            stopped: asked after each batch whether this request was given up; what others wait for is computed
                all the same.

        Raises:
            FetalIQAError: when the file cannot be used, or the options do not fit it.
            DeviceFull: when the device has no memory for a single frame.
            RequestStopped: when the request was given up.
        """
        path = Path(path)
        request = self._resolved(options or AssessOptions())  # once: what is computed is what the key says

        def usable(found: AssessmentResult | None) -> AssessmentResult | None:
            return None if found is None or (with_profile and found.profile is None) else found

        # the identity is taken before reading: a file replaced meanwhile gets no false record
        identity = file_identity(path, request.options.sweep_count)
        if (known := usable(self._known(path, request, identity))) is not None:
            return known
        if stopped is not None and stopped():
            raise RequestStopped()
        sweep = read_sweep(path, sweeps=request.options.sweep_count)
        if self._cache is None:
            # the pixels' hash is made beside the frames then; a file that has an identity is told by that
            key = request.key(identity or sweep.content_hash)
        else:
            key = request.key(sweep.content_hash)
            self._cache.remember_content(identity, KnownContent.of(sweep))

        def compute(report: Progress) -> AssessmentResult:
            if self._cache is None:
                return self._computed(path, request, sweep, report)
            with alone(self._cache.lock_for(key), lambda: report(0, sweep.frame_count)):
                # another process, or a request that ended just before this one began, may have made it
                found = usable(self._found(path, request, KnownContent.of(sweep), sweep))
                return found or self._computed(path, request, sweep, report)

        result, here = self._work.run(key, compute, progress, stopped)
        return result if here else result.of_other_file(path, sweep)

    def _computed(self, path: Path, request: _Resolved, sweep: Sweep, progress: Progress) -> AssessmentResult:
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
        made = AssessmentResult(
            result.record, False, path, request.options, None, result.masks, sweep, self._cache, key, sweep.grid
        )
        made.profile = result.profile
        return made

    def _found(
        self, path: Path, request: _Resolved, content: KnownContent, sweep: Sweep | None
    ) -> AssessmentResult | None:
        if self._cache is None:
            return None
        options, ways = request.options, [request]
        if options.screened:  # whoever looked at every frame knows more
            ways.insert(0, self._resolved(replace(options, search=False, screen=False)))
        for way in ways:
            key = way.key(content.content_hash)
            stored = self._cache.get(key)
            if stored is not None:
                break
        else:
            return None
        record, packed = stored
        # equal pixels in another file: the same assessment, another case, read in its own way
        record["case_id"] = content.case_id
        record["notes"] = case_notes(content.notes, record["frames"], record["model"]["anatomy"])
        return AssessmentResult(record, True, path, options, packed, None, sweep, self._cache, key, content.grid)

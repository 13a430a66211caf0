"""Assessments by file, computed once: the model is loaded on first use, results come from the cache."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from fetaliqa import __version__
from fetaliqa.errors import BundleError, OptionError
from fetaliqa.inference.assessment import ASSESSMENT_SCHEMA, Progress, assess, check_wanted, model_info
from fetaliqa.inference.cache import (
    DEFAULT_BYTES,
    AssessmentCache,
    KnownContent,
    cache_key,
    packed_shape,
    unpack_frames,
    unpack_masks,
    used,
)
from fetaliqa.inference.case_screen import screen_floor
from fetaliqa.inference.options import AssessOptions
from fetaliqa.inference.precision import chosen_precision, parameters_of
from fetaliqa.inference.predictor import Predictor, choose_device
from fetaliqa.inference.profile import FrameProfile
from fetaliqa.models import Bundle
from fetaliqa.models.store import STUDENT_FOLDER, resolve_bundle
from fetaliqa.student.folder import AUTO, Student, open_student
from fetaliqa.sweep import Grid, Sweep, read_sweep, write_masks
from fetaliqa.sweep.mask_files import write_frames


def default_cache_directory() -> Path:
    """The user's cache folder for assessments."""
    return Path(platformdirs.user_cache_dir("fetaliqa")) / "assessments"


@dataclass
class AssessmentResult:
    """One case's assessment, with what it takes to write its masks.

    Attributes:
        assessment: JSON-able record (docs/assessment.md).
        cached: True when nothing was computed for this request.
    """

    assessment: dict[str, Any]
    cached: bool
    _path: Path
    _options: AssessOptions
    _packed: Mapping[str, np.ndarray] | None
    _masks: np.ndarray | None
    _sweep: Sweep | None
    _cache: AssessmentCache | None
    _key: str
    _grid: Grid

    @cached_property
    def profile(self) -> FrameProfile | None:
        """Of its frames; None of a classifier, and of entries of before there were any."""
        return None if self._packed is None else FrameProfile.from_arrays(self._packed)

    @property
    def masks(self) -> np.ndarray:
        """uint8 [T, H, W] on the native grid; 1 inside the outlined anatomy."""
        if self._masks is None:
            assert self._packed is not None
            self._masks = unpack_masks(self._packed)
        return self._masks

    @property
    def sweep(self) -> Sweep:
        """The frames; read again from the file when the result came from the cache."""
        if self._sweep is None:
            self._sweep = read_sweep(self._path, sweeps=self._options.sweep_count)
        return self._sweep

    def write_masks(self, target: Path) -> None:
        """Write the mask stack to ``target`` on the input's own grid; it is kept for the next time."""
        target = Path(target)
        extension = ".nii.gz" if target.name.endswith(".nii.gz") else target.suffix
        if self._cache is None:
            self._write(target)
            return
        # the key holds the pixels' hash, not the grid: two files of equal pixels may lie elsewhere in space
        kept = self._cache.file_for(cache_key(self._key, asdict(self._grid)), extension)
        try:
            shutil.copyfile(kept, target)
            used(kept)
        except OSError:  # not there, or not readable; where ``target`` cannot be written, the next line says so
            self._write(target)
            self._cache.keep_file(kept, target)

    def _write(self, target: Path) -> None:
        """From what is packed where that is at hand: the file of the sweep is not read for it."""
        if self._packed is None:
            write_masks(target, self.masks, self.sweep)
        else:
            write_frames(target, packed_shape(self._packed), self._grid, unpack_frames(self._packed))


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
        self._student = open_student(student, self._bundle)
        self._waits_for_student = student == AUTO and not (self._bundle.directory / STUDENT_FOLDER).is_dir()
        self._classifier_bundle = None if classifier_spec is None else Bundle.open(resolve_bundle(classifier_spec))
        if self._classifier_bundle is not None and self._classifier_bundle.card.task != "classification":
            raise BundleError(
                f"{classifier_spec}: a {self._classifier_bundle.card.task} bundle; a classifier is needed"
            )
        self._device = device
        self._weights = weights
        self._cache = None if cache_dir is None else AssessmentCache(cache_dir, cache_bytes)
        self._lock = threading.Lock()
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
        """The loaded model; loads it on the first call."""
        with self._lock:
            if self._predictor is None:
                classifier = None
                if self._classifier_bundle is not None:
                    classifier = self._made(self._classifier_bundle)
                predictor = self._made(self._bundle)
                self._predictor, self._classifier = predictor, classifier  # both, or neither
            return self._predictor

    def _made(self, bundle: Bundle) -> Predictor:
        return Predictor(bundle, self._device, weights=self._weights, precision=self._precision)

    def made_with(self, options: AssessOptions, device: torch.device | None = None) -> dict[str, Any]:
        """What an assessment depends on besides the sweep, as JSON-able values.

        Args:
            options: of the assessment.
            device: another one than this service's, which need not exist here.

        Raises:
            OptionError: when the service's device does not exist here.
        """
        device = device or choose_device(self._device)
        student = self._student_for(options)
        how = {
            "schema": ASSESSMENT_SCHEMA,
            "version": __version__,  # a version may measure otherwise
            "device": device.type,  # a GPU computes in another precision
            "precision": self._precision_on(device),
            "model": self._bundle.fingerprint,
            "classifier": None if self._classifier_bundle is None else self._classifier_bundle.fingerprint,
            "options": options.as_dict(),
        }
        return how if student is None else {**how, "student": student.fingerprint}

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
        if self._waits_for_student and (self._bundle.directory / STUDENT_FOLDER).is_dir():
            self._student, self._waits_for_student = open_student(AUTO, self._bundle), False  # distilled meanwhile
        if options.screen:
            screen_floor(self._student)
        return self._student

    def check_options(self, options: AssessOptions) -> None:
        """Check that this service can do what is asked, before any sweep is read.

        Raises:
            OptionError: when it cannot.
        """
        self._student_for(options)

    def _key(self, content_hash: str, options: AssessOptions) -> str:
        how = self.made_with(options)
        computed = (how["schema"], how["version"], how["device"], how["precision"])
        screened = (how["student"],) if "student" in how else ()
        return cache_key(*computed, content_hash, how["model"], how["classifier"], how["options"], *screened)

    def _precision_on(self, device: torch.device) -> str:
        """Told from the bundle's card, without loading the model."""
        return chosen_precision(self._precision, device, parameters_of(self._bundle.card.architecture.vision))

    def cached(self, path: Path, options: AssessOptions | None = None) -> AssessmentResult | None:
        """The assessment of a file that is known and was assessed before; else None. Reads no pixels.

        Raises:
            OptionError: see :meth:`check_options`.
        """
        options = options or AssessOptions()
        self.check_options(options)
        return self._known(Path(path), options)[1]

    def _known(self, path: Path, options: AssessOptions) -> tuple[str | None, AssessmentResult | None]:
        """The file's identity in the cache, and its assessment when it is known and was assessed before."""
        if self._cache is None:
            return None, None
        identity = self._cache.identity(path, options.sweep_count)
        known = self._cache.known_content(identity)
        return identity, self._found(path, options, known, None) if known else None

    def assess(
        self,
        path: Path,
        options: AssessOptions | None = None,
        progress: Progress | None = None,
        *,
        with_profile: bool = False,
        stopped: Callable[[], bool] | None = None,
    ) -> AssessmentResult:
        """Assess the sweep file (or folder of frames) at ``path``.

        Args:
            path: of the file.
            options: which part, and how.
            progress: called with (frames done, frames in all).
            with_profile: whether an assessment that was kept without a profile is made again.
            stopped: whether nobody waits for it any more; asked between batches.

        Raises:
            Stopped: when it was stopped.
            FetalIQAError: when the file cannot be used, or the options do not fit it.
        """
        path, options = Path(path), options or AssessOptions()
        self.check_options(options)
        # the identity is taken before reading: a file replaced meanwhile gets no false record
        identity, found = self._known(path, options)
        if found is not None and (not with_profile or found.profile is not None):
            return found
        check_wanted(stopped)
        sweep = read_sweep(path, sweeps=options.sweep_count)
        if self._cache is not None:
            content = KnownContent.of(sweep)
            self._cache.remember_content(identity, content)
            found = self._found(path, options, content, sweep)
            if found is not None and (not with_profile or found.profile is not None):
                return found
        predictor = self.load()
        result = assess(
            sweep,
            predictor,
            options,
            classifier=self._classifier,
            student=self._student_for(options),
            progress=progress,
            stopped=stopped,
        )
        key = self._key(sweep.content_hash, options)
        if self._cache is not None:
            arrays = None if result.profile is None else result.profile.arrays()
            self._cache.put(key, result.record, result.masks, arrays)
        made = AssessmentResult(
            result.record, False, path, options, None, result.masks, sweep, self._cache, key, sweep.grid
        )
        made.profile = result.profile
        return made

    def _found(
        self, path: Path, options: AssessOptions, content: KnownContent, sweep: Sweep | None
    ) -> AssessmentResult | None:
        if self._cache is None:
            return None
        ways = [options]
        if options.screened:  # whoever looked at every frame knows more
            ways.insert(0, replace(options, search=False, screen=False))
        for way in ways:
            key = self._key(content.content_hash, way)
            stored = self._cache.get(key)
            if stored is not None:
                break
        else:
            return None
        record, packed = stored
        # equal pixels in another file: the same assessment, another case, read in its own way
        record["case_id"], record["notes"] = content.case_id, list(content.notes)
        return AssessmentResult(record, True, path, options, packed, None, sweep, self._cache, key, content.grid)

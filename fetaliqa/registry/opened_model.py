"""The bundle, classifier and student of a setup, opened: devices, precision, and what an assessment depends on."""

from __future__ import annotations

import threading

import torch

from fetaliqa.errors import BundleError, OptionError
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.batch_halving import told_when_full
from fetaliqa.inference.case_screen import screen_floor
from fetaliqa.inference.devices import card_name, choose_device
from fetaliqa.inference.precision import chosen_precision
from fetaliqa.inference.predictor import Predictor
from fetaliqa.inference.student import Student, open_student
from fetaliqa.model import Bundle, BundleCard
from fetaliqa.model.bundle_names import AUTO, STUDENT_FOLDER
from fetaliqa.registry.assessment_request import AssessmentRequest, common_made_with
from fetaliqa.registry.assessment_setup import AssessmentSetup


class OpenedModel:
    """The model of a setup; its weights are loaded on first use.

    Args:
        setup: what sweeps are assessed with.

    Attributes:
        setup: the same.
        bundle: opened, with its card.
        classifier: loaded together with the model; None without one.

    Raises:
        BundleError: when the bundle, the classifier or the student cannot be used.
    """

    def __init__(self, setup: AssessmentSetup) -> None:
        self.setup = setup
        self.bundle = Bundle.open(setup.bundle)
        self._student = open_student(setup.student, self.bundle, setup.device)
        self._waits_for_student = setup.student == AUTO and not (setup.bundle / STUDENT_FOLDER).is_dir()
        self._classifier_bundle = None if setup.classifier is None else Bundle.open(setup.classifier)
        if self._classifier_bundle is not None and self._classifier_bundle.card.task != "classification":
            raise BundleError(
                f"{setup.classifier}: a {self._classifier_bundle.card.task} bundle; a classifier is needed"
            )
        self._device: torch.device | None = None  # chosen once, for requests and the loaded model
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None
        self.classifier: Predictor | None = None

    @property
    def card(self) -> BundleCard:
        """The bundle's card."""
        return self.bundle.card

    @property
    def fingerprint(self) -> str:
        """The bundle's fingerprint."""
        return self.bundle.fingerprint

    def check(self) -> None:
        """Check that the foundation-model weights the bundles need are here, without loading them.

        Raises:
            WeightsError: when there are none.
            BundleError: when they are others.
        """
        for bundle in (self.bundle, self._classifier_bundle):
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
                predictor = self._load(self.bundle)
                self._predictor, self.classifier = predictor, classifier  # both, or neither
            return self._predictor

    def _load(self, bundle: Bundle) -> Predictor:
        def load() -> Predictor:
            return Predictor(bundle, str(device), weights=self.setup.weights, precision=self.setup.precision)

        device = self.device()
        return told_when_full(load, device)

    def device(self) -> torch.device:
        """The device, chosen once.

        Raises:
            OptionError: when it does not exist here, or cannot be used.
        """
        if self._device is None:
            self._device = choose_device(self.setup.device)
        return self._device

    def computed_on(self) -> dict[str, str | None]:
        """``device``, the name of its ``card`` (None for a CPU) and the encoder's ``precision``, as JSON values.

        Raises:
            OptionError: when the device does not exist here, or cannot be used.
        """
        device = self.device()
        return {"device": str(device), "card": card_name(device), "precision": self._precision_on(device)}

    def request(self, options: AssessOptions, device: str | None = None) -> AssessmentRequest:
        """A request with these options, at this time.

        Raises:
            OptionError: when frames cannot be screened without a student, or the device does not exist here.
        """
        where = self.device() if device is None else torch.device(device)
        student = self.student_for(options)
        precision, interval = self._precision_on(where), self.bundle.intervals.sha256
        made_with = common_made_with(self.bundle.fingerprint, options, where.type, precision, interval)
        if self._classifier_bundle is not None:
            made_with["classifier"] = self._classifier_bundle.fingerprint
        if student is not None:
            made_with["student"] = student.fingerprint
        return AssessmentRequest(options, student, made_with)

    def student_for(self, options: AssessOptions) -> Student | None:
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
                self._student = open_student(AUTO, self.bundle, self.setup.device)  # distilled after the start
                self._waits_for_student = False
            student = self._student
        if options.screen:
            screen_floor(student)
        return student

    def _precision_on(self, device: torch.device) -> str:
        """From the bundle's card, without loading the model."""
        return chosen_precision(self.setup.precision, device, self.bundle.card.architecture.vision)

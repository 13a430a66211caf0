"""Errors a user can act on: one sentence that says what, which value, and what to do.

Every entry point (command line, server) shows ``str(error)`` and nothing else: no traceback. The
``http_status``, ``exit_code`` and ``retry_after`` class attributes say how each entry point reports the error.
"""

from __future__ import annotations

from fetaliqa.case_names import printable


class FetalIQAError(Exception):
    """Base of all errors caused by input, settings or files rather than by a bug."""

    http_status = 400
    exit_code = 2
    retry_after: int | None = None  # seconds after which the same request may be answered

    def __str__(self) -> str:
        """One line of printable characters, whatever names are in it: it goes to terminals, logs and tables."""
        return printable(super().__str__())


class SweepError(FetalIQAError):
    """An image file cannot be used as a sweep."""


class ArrayError(FetalIQAError, ValueError):
    """An array has another type or shape than is needed."""


class WeightsError(FetalIQAError):
    """Foundation-model weights are missing, damaged, or not the ones expected."""

    http_status = 503  # of the server's making, not of the request's


class BundleError(FetalIQAError):
    """A model bundle is missing, damaged, or does not fit the weights at hand."""

    http_status = 503


class NotFoundError(FetalIQAError):
    """A thing named by the user (image, model, bundle) does not exist."""

    http_status = 404


class OptionError(FetalIQAError):
    """An option has a value outside what it accepts."""


class DeviceFull(FetalIQAError):
    """Memory of the device ran out: others use it. The same request is answered once they have ended."""

    http_status = 503
    exit_code = 1
    retry_after = 30


class TrainingError(FetalIQAError):
    """Training cannot go on: out of memory, or diverged."""

    http_status = 500
    exit_code = 1


class ScoringError(FetalIQAError):
    """Processes that score cases end before any case is through."""

    http_status = 500
    exit_code = 1


class TooFewLabels(FetalIQAError):
    """There is not enough confirmed to retrain on; the sentence says what is missing."""


class StoreConflict(FetalIQAError):
    """The model store, or another training, does not allow this now."""

    http_status = 409


class StoreMoved(StoreConflict):
    """Another version was published since the one that a decision was made against."""


class GateRefused(StoreConflict):
    """The gate refused a candidate, and nobody said that it is to be published all the same."""


class LabelError(FetalIQAError):
    """A label cannot be used, or cannot be saved."""


class LabelDamaged(LabelError):
    """Files of a saved label are missing or unreadable."""

    http_status = 500
    exit_code = 1


class StorageError(FetalIQAError):
    """The disk does not take what has to be written; what was there before stands."""

    http_status = 507
    exit_code = 1


class LabelStorageError(LabelError):
    """The disk does not take a label; what was there before stands."""

    http_status = 507
    exit_code = 1


class LabelConflict(LabelError):
    """A label was changed by another since the writer loaded it."""

    http_status = 409


class RequestStopped(FetalIQAError):
    """Whoever asked has gone, so that nothing is computed for them any more."""

    http_status = 499  # "client closed request": nobody reads it

    def __init__(self, message: str = "the request was given up, so it was not computed") -> None:
        super().__init__(message)

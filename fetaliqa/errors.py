"""Exceptions for errors that a user can act on: one sentence that says what, which value, and what to do.

Every entry point (command line, server) shows ``str(error)`` without a traceback. The class attributes
``http_status``, ``exit_code`` and ``retry_after`` define how each entry point reports the error.
"""

from __future__ import annotations

from fetaliqa.case_names import printable


class FetalIQAError(Exception):
    """Base class of errors caused by input, settings or files rather than by a bug."""

    http_status = 400
    exit_code = 2
    retry_after: int | None = None  # seconds after which the same request may succeed

    def __str__(self) -> str:
        """The message as one line of printable characters, for terminals, logs and tables."""
        return printable(super().__str__())


class SweepError(FetalIQAError):
    """An image file cannot be used as a sweep."""


class ArrayError(FetalIQAError, ValueError):
    """An array has another type or shape than is needed."""


class WeightsError(FetalIQAError):
    """Foundation-model weights are missing, damaged, or not the ones expected."""

    http_status = 503  # caused by the server's state, not by the request


class BundleError(FetalIQAError):
    """A model bundle is missing, damaged, or does not match the available weights."""

    http_status = 503


class NotFoundError(FetalIQAError):
    """An image, model, bundle or other named object does not exist."""

    http_status = 404


class OptionError(FetalIQAError):
    """An option has an invalid value."""


class GrowthError(FetalIQAError):
    """A measurement or an age is outside of the range of a growth formula."""


class DeviceFull(FetalIQAError):
    """The device is out of memory because other processes use it; the request may succeed later."""

    http_status = 503
    exit_code = 1
    retry_after = 30


class TrainingError(FetalIQAError):
    """Training cannot continue: out of memory, or diverged."""

    http_status = 500
    exit_code = 1


class ScoringError(FetalIQAError):
    """The scoring processes end before any case is completed."""

    http_status = 500
    exit_code = 1


class TooFewLabels(FetalIQAError):
    """There are too few confirmed labels to retrain on; the message says what is missing."""


class StoreConflict(FetalIQAError):
    """The operation conflicts with the state of the model store or with another training run."""

    http_status = 409


class StoreMoved(StoreConflict):
    """Another version was published after the one that a decision was based on."""


class GateRefused(StoreConflict):
    """The gate rejected a candidate, and publishing it was not forced."""


class LabelError(FetalIQAError):
    """A label cannot be used, or cannot be saved."""


class LabelDamaged(LabelError):
    """Files of a saved label are missing or unreadable."""

    http_status = 500
    exit_code = 1


class StorageError(FetalIQAError):
    """Writing to the disk failed; earlier content is unchanged."""

    http_status = 507
    exit_code = 1


class LabelStorageError(LabelError):
    """Writing a label failed; earlier versions are unchanged."""

    http_status = 507
    exit_code = 1


class LabelConflict(LabelError):
    """A label was changed by somebody else after it was loaded."""

    http_status = 409


class RequestStopped(FetalIQAError):
    """The client has disconnected, so its request is not computed."""

    http_status = 499  # "client closed request"

    def __init__(self, message: str = "the client closed the request, so it was not computed") -> None:
        super().__init__(message)

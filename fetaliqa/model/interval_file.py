"""The calibration of a bundle's intervals: ``interval.json`` beside its card.

It does not change the bundle's fingerprint, because it changes no outline. It names the fingerprint of the model
that it was measured with, and is not used with another one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fetaliqa.atomic import write_json
from fetaliqa.errors import BundleError
from fetaliqa.measure.circumference_interval import Calibration
from fetaliqa.model.bundle_card import MAX_CARD_BYTES
from fetaliqa.model.json_records import from_json, to_json
from fetaliqa.model.tensor_hashes import short

INTERVAL_FILE = "interval.json"
INTERVAL_SCHEMA = 1
HOW_TO = "run `fetaliqa models calibrate` on it, or on a copy if it ships, with cases that it did not learn from"


@dataclass(frozen=True)
class IntervalFile:
    """Content of ``interval.json``.

    Attributes:
        schema: ``INTERVAL_SCHEMA``.
        version: of the calibration, counted from 1.
        model: fingerprint of the model that it was measured with.
        calibration: the quantiles.
        created: ISO time.
    """

    schema: int
    version: int
    model: str
    calibration: Calibration
    created: str


@dataclass(frozen=True)
class Intervals:
    """What a model's intervals are made with.

    Attributes:
        calibration: None where there is none, and ``absent`` says why.
        absent: one sentence, or None.
        sha256: hash (hex) of the file, part of cache keys; None without one.
    """

    calibration: Calibration | None = None
    absent: str | None = f"this model has no calibrated interval; {HOW_TO}"
    sha256: str | None = None


def read_intervals(folder: Path, fingerprint: str) -> Intervals:
    """The calibration of a bundle's folder. One that cannot be used does not stop an assessment.

    Args:
        folder: of the bundle.
        fingerprint: of the bundle.
    """
    file = Path(folder) / INTERVAL_FILE
    try:
        content = file.read_bytes()[: MAX_CARD_BYTES + 1]
    except (FileNotFoundError, NotADirectoryError):
        return Intervals()
    except OSError as problem:
        return Intervals(absent=f"the model's {INTERVAL_FILE} is not readable ({problem.strerror})")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        read = from_json(IntervalFile, json.loads(content), INTERVAL_FILE, BundleError)
    except (BundleError, ValueError) as problem:
        return Intervals(absent=f"the model's {INTERVAL_FILE} is damaged ({problem}); {HOW_TO}", sha256=sha256)
    if read.schema != INTERVAL_SCHEMA:
        return Intervals(absent=f"the model's {INTERVAL_FILE} has schema {read.schema}; {HOW_TO}", sha256=sha256)
    if read.model != fingerprint:
        was = f"the model's {INTERVAL_FILE} was measured with another model ({short(read.model)})"
        return Intervals(absent=f"{was}; {HOW_TO}", sha256=sha256)
    return Intervals(read.calibration, None, sha256)


def write_intervals(folder: Path, fingerprint: str, calibration: Calibration, created: str) -> IntervalFile:
    """Write the calibration of a bundle, atomically; the version is one more than that of the file replaced.

    Args:
        folder: of the bundle.
        fingerprint: of the bundle.
        calibration: the quantiles.
        created: ISO time.

    Raises:
        OSError: when the disk does not take it.
    """
    version = 1
    try:
        before = json.loads((Path(folder) / INTERVAL_FILE).read_text(encoding="utf-8"))
        version += int(before["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or a damaged one, which is replaced
    written = IntervalFile(INTERVAL_SCHEMA, version, fingerprint, calibration, created)
    write_json(Path(folder) / INTERVAL_FILE, to_json(written))
    return written

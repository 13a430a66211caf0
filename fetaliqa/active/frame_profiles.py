"""Frame profiles (quality, presence, uncertainty, embedding) of a studies folder, one file per case and model.

::

    STUDIES/frame-profiles/MODEL/CASE.npz      MODEL: the bundle's fingerprint, shortened

They are derived data: a missing or damaged file is made again by scoring the case.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import SweepError
from fetaliqa.file_provenance import FileProvenance
from fetaliqa.inference.frame_profile import FrameProfile
from fetaliqa.sweep import DETACHED_SUFFIXES, files_of

SCHEMA = 1
FOLDER = "frame-profiles"  # in a folder of studies
SUFFIX = ".npz"
MODEL_DIGITS = 16  # of a bundle's fingerprint

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CaseProfile:
    """The profile of a case's frames, as a model assessed them.

    Attributes:
        case: its id.
        ranges: half-open frame range of each sweep.
        quality: float32 [N], quality score of each assessed frame.
        positive: bool [N], whether the model called it positive.
        profile: of the same N frames.
        source: identity of the file it was made from, see :func:`source_of`; empty where it is not checked.
    """

    case: str
    ranges: tuple[tuple[int, int], ...]
    quality: np.ndarray
    positive: np.ndarray
    profile: FrameProfile
    source: str = ""


def source_of(image: Path) -> str:
    """Provenance of an image and the file of its pixels, in one line: what a profile stores, and is compared with.

    Raises:
        OSError: when a file is missing, or may not be read.
    """
    files = [image]
    if image.suffix.lower() in DETACHED_SUFFIXES:
        with contextlib.suppress(SweepError):  # of a damaged header, only the header itself is known
            files = files_of(image)
    return ",".join("-".join(map(str, FileProvenance.of(file).state)) for file in files)


def case_profile(case: str, record: dict[str, Any], profile: FrameProfile, source: str = "") -> CaseProfile:
    """Make the profile of a case from its assessment record and the signals computed with it."""
    frames = {frame["index"]: frame for frame in record["frames"]}
    numbers = [int(number) for number in profile.frames]
    return CaseProfile(
        case,
        tuple((sweep["start"], sweep["stop"]) for sweep in record["sweeps"]),
        np.array([frames[number]["quality"] or 0.0 for number in numbers], np.float32),
        np.array([bool(frames[number]["positive"]) for number in numbers], bool),
        profile,
        source,
    )


class ProfileFolder:
    """The profiles of one studies folder made by one model.

    Args:
        studies: the folder.
        fingerprint: of the model's bundle.
    """

    def __init__(self, studies: Path, fingerprint: str) -> None:
        self.folder = Path(studies) / FOLDER / fingerprint[:MODEL_DIGITS]

    def path(self, case: str) -> Path:
        """Where the profile of a case belongs."""
        return self.folder / f"{case}{SUFFIX}"

    def write(self, profile: CaseProfile) -> None:
        """Store a profile."""
        header = json.dumps(
            {"schema": SCHEMA, "case": profile.case, "ranges": profile.ranges, "source": profile.source}
        ).encode()
        content = io.BytesIO()
        # not compressed: a server reads hundreds of them at start-up
        np.savez(
            content,
            told=np.frombuffer(header, np.uint8),
            quality=profile.quality,
            positive=profile.positive,
            **profile.profile.arrays(),  # type: ignore[arg-type]
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path(profile.case)) as temporary:
            temporary.write_bytes(content.getvalue())

    def read(self, case: str) -> CaseProfile | None:
        """The profile of a case; None when it is missing or unusable."""
        path = self.path(case)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            header = json.loads(bytes(arrays["told"]))
            source = str(header["source"])
            ranges = tuple((int(start), int(stop)) for start, stop in header["ranges"])
            quality, positive = arrays["quality"], arrays["positive"]
            profile = FrameProfile.from_arrays(arrays)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as problem:
            logger.warning("%s cannot be read (%s); score the case again", path.name, problem)
            return None
        if profile is None or header.get("schema") != SCHEMA or header.get("case") != case:
            return None
        if quality.shape != profile.frames.shape or positive.shape != profile.frames.shape:
            return None
        return CaseProfile(case, ranges, quality, positive.astype(bool), profile, source)

    def files(self) -> dict[str, FileProvenance]:
        """The file of every profile, by case: tells which of them changed without reading them."""
        if not self.folder.is_dir():
            return {}
        files = {}
        for path in self.folder.glob(f"*{SUFFIX}"):
            if not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    files[path.name.removesuffix(SUFFIX)] = FileProvenance.of(path)
        return files

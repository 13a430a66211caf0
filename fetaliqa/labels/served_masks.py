"""Log of the masks that a server sent for each image, to distinguish edited masks from unchanged proposals.

::

    LABEL-VERSIONS/CASE/.handed-out.json     for an image of the studies
    LABEL-VERSIONS/.handed-out/PIXELS.json   for a file that was sent along, by the hash of its pixels

Of each proposal only a digest of every outlined frame is stored. A client without frame records may have received
any of them, so a frame counts as edited only when it differs from all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from fetaliqa.atomic import write_json

FILE, FOLDER, LOCK = ".handed-out.json", ".handed-out", ".handed-out.lock"
MAX_PROPOSALS = 200  # per image; beyond, the log is incomplete and no comparison is made
MAX_FILES = 1000  # logs of clients' own files; older ones are removed
DIGEST_BYTES = 8
LOCK_SECONDS = 10.0


def frame_digests(frames: Iterable[np.ndarray | None]) -> dict[int, str]:
    """A digest (hex) of each outlined frame of a mask stack, by frame number; masks [H, W], foreground not 0."""
    digests = {}
    for number, frame in enumerate(frames):
        if frame is not None and frame.any():
            bits = np.packbits(frame != 0)
            digests[number] = hashlib.blake2b(bits.tobytes(), digest_size=DIGEST_BYTES).hexdigest()
    return digests


@dataclass(frozen=True)
class Proposal:
    """Masks that were sent to clients.

    Attributes:
        frames: digests of the outlined frames.
        model, model_version: that made them; None for a label.
        clients: names of the clients that received them, "" for unnamed ones.
    """

    frames: Mapping[int, str]
    model: str | None = None
    model_version: str | None = None
    clients: tuple[str, ...] = ()


@dataclass(frozen=True)
class HandedOut:
    """What was sent for one image.

    Attributes:
        proposals: of models.
        labels: (tag, version) of the labels that were downloaded.
        complete: whether nothing is missing.
    """

    proposals: tuple[Proposal, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    complete: bool = True

    def to(self, client: str | None) -> list[Proposal]:
        """The proposals that a client may have received: its own and unnamed ones; all, for an unnamed client.

        Empty when it received none.
        """
        name = client or ""
        if not any(name in one.clients for one in self.proposals):
            return []
        return [one for one in self.proposals if not name or name in one.clients or "" in one.clients]


@dataclass
class Ledger:
    """Log of what was sent for the images of one folder of studies.

    Args:
        folder: of the versions of labels (``LabelStore.folder``).
    """

    folder: Path
    _failed: set[Path] = field(default_factory=set)

    def of_image(self, case: str, identity: Iterable[str]) -> HandedOut:
        """What was sent for an image file, identified by its path, size and times."""
        return self._read(self.folder / case / FILE, list(identity))

    def of_pixels(self, pixels: str) -> HandedOut:
        """What was sent for clients' own files with these pixels (``pixels_sha256``)."""
        return self._read(self.folder / FOLDER / f"{pixels}.json", [])

    def image_received(self, case: str, identity: Iterable[str], proposal: Proposal) -> None:
        """Record that a proposal for an image is sent to a client. Raises OSError, see ``_add``."""
        self._add(self.folder / case / FILE, list(identity), proposal=proposal)

    def pixels_received(self, pixels: str, proposal: Proposal) -> None:
        """Record that a proposal for a client's own file is sent to it. Raises OSError, see ``_add``."""
        self._add(self.folder / FOLDER / f"{pixels}.json", [], proposal=proposal)
        files = sorted((self.folder / FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime)
        for old in files[:-MAX_FILES]:
            old.unlink(missing_ok=True)

    def label_received(self, case: str, identity: Iterable[str], tag: str, version: int) -> None:
        """Record that a version of a label is downloaded. Raises OSError, see ``_add``."""
        self._add(self.folder / case / FILE, list(identity), label=(tag, version))

    def _read(self, file: Path, identity: list[str]) -> HandedOut:
        entry = _load(file)
        if entry is None or entry["identity"] != identity:  # the log of a replaced file does not apply
            return HandedOut(complete=file not in self._failed)
        proposals = tuple(
            Proposal(
                {int(frame): digest for frame, digest in one["frames"].items()},
                one["model"],
                one["model_version"],
                tuple(one["clients"]),
            )
            for one in entry["proposals"]
        )
        labels = tuple((str(tag), int(version)) for tag, version in entry["labels"])
        return HandedOut(proposals, labels, entry["complete"] and file not in self._failed)

    def _add(
        self,
        file: Path,
        identity: list[str],
        *,
        proposal: Proposal | None = None,
        label: tuple[str, int] | None = None,
    ) -> None:
        """Add entries to a log file.

        Raises:
            OSError: when it cannot be written; the log of this image counts as incomplete until the server
                restarts.
        """
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file.parent / LOCK, timeout=LOCK_SECONDS):
                entry = _load(file)
                if entry is None or entry["identity"] != identity:
                    entry = {"identity": identity, "proposals": [], "labels": [], "complete": True}
                before = json.dumps(entry, sort_keys=True)
                if proposal is not None:
                    _merge(entry, proposal)
                if label is not None and list(label) not in entry["labels"]:
                    entry["labels"].append(list(label))
                if json.dumps(entry, sort_keys=True) != before:
                    write_json(file, entry)
        except OSError:
            self._failed.add(file)
            raise


def _load(file: Path) -> dict[str, Any] | None:
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        usable = all(isinstance(entry[key], list) for key in ("identity", "proposals", "labels"))
        return entry if usable and isinstance(entry["complete"], bool) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _merge(entry: dict[str, Any], proposal: Proposal) -> None:
    new = json.loads(json.dumps(asdict(proposal)))  # as it will be read
    for one in entry["proposals"]:
        if all(one[key] == new[key] for key in ("frames", "model", "model_version")):
            one["clients"] = sorted({*one["clients"], *new["clients"]})
            return
    if len(entry["proposals"]) >= MAX_PROPOSALS:
        entry["complete"] = False
        return
    entry["proposals"].append(new)

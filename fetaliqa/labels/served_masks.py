"""Which masks a server gave out for a case, so that a person's work can be told from a proposal nobody changed.

::

    LABEL-VERSIONS/CASE/.handed-out.json     for an image of the studies
    LABEL-VERSIONS/.handed-out/PIXELS.json   for a file that was sent along, by the hash of its pixels

Of each proposal only a digest of every outlined frame is kept. A client that tells nothing of frames may have
received any of them; so a frame is taken for a person's work only when it differs from all.
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
MAX_PROPOSALS = 200  # of one image; beyond, nothing is compared any more
MAX_FILES = 1000  # of clients' own files; of older ones nothing is known any more
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
    """Masks that were given out.

    Attributes:
        frames: digests of the outlined frames.
        model, model_version: that made them; None of a label.
        clients: names of the clients that received them, "" of those that gave none.
    """

    frames: Mapping[int, str]
    model: str | None = None
    model_version: str | None = None
    clients: tuple[str, ...] = ()


@dataclass(frozen=True)
class HandedOut:
    """What was given out for one image.

    Attributes:
        proposals: of models.
        labels: (tag, version) of the labels that were downloaded.
        complete: whether that is all of it.
    """

    proposals: tuple[Proposal, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    complete: bool = True

    def to(self, client: str | None) -> list[Proposal]:
        """The proposals that a client may have received: its own, and unnamed ones; of one without a name, all.

        Empty when none is known to have gone to it: what it has then is from elsewhere.
        """
        name = client or ""
        if not any(name in one.clients for one in self.proposals):
            return []
        return [one for one in self.proposals if not name or name in one.clients or "" in one.clients]


@dataclass
class Ledger:
    """Remembers what was given out for the images of one folder of studies.

    Args:
        folder: of the versions of labels (``LabelStore.folder``).
    """

    folder: Path
    _failed: set[Path] = field(default_factory=set)

    def of_image(self, case: str, identity: Iterable[str]) -> HandedOut:
        """What was given out for an image file, told by what identifies it on the disk."""
        return self._read(self.folder / case / FILE, list(identity))

    def of_pixels(self, pixels: str) -> HandedOut:
        """What was given out for files with these pixels (``pixels_sha256``) that clients sent along."""
        return self._read(self.folder / FOLDER / f"{pixels}.json", [])

    def image_received(self, case: str, identity: Iterable[str], proposal: Proposal) -> None:
        """Remember that a proposal for an image is given to a client. Raises OSError, see ``_add``."""
        self._add(self.folder / case / FILE, list(identity), proposal=proposal)

    def pixels_received(self, pixels: str, proposal: Proposal) -> None:
        """Remember that a proposal for a client's own file is given to it. Raises OSError, see ``_add``."""
        self._add(self.folder / FOLDER / f"{pixels}.json", [], proposal=proposal)
        files = sorted((self.folder / FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime)
        for old in files[:-MAX_FILES]:
            old.unlink(missing_ok=True)

    def label_received(self, case: str, identity: Iterable[str], tag: str, version: int) -> None:
        """Remember that a version of a label is downloaded. Raises OSError, see ``_add``."""
        self._add(self.folder / case / FILE, list(identity), label=(tag, version))

    def _read(self, file: Path, identity: list[str]) -> HandedOut:
        entry = _load(file)
        if entry is None or entry["identity"] != identity:  # nothing is known of a file that was replaced
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
        """Add to a file what is not in it.

        Raises:
            OSError: when the disk does not take it; nothing is compared with this image's proposals then, until
                the server starts again.
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

"""The user's FetalCLIP weights: imported once from a checkpoint, then loaded from safetensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
from safetensors.torch import save_file

from fetaliqa.atomic import atomic_path, write_json
from fetaliqa.errors import WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model.architecture import VisionConfig, fetalclip_text, load_architecture
from fetaliqa.model.fetalclip_checkpoint import read_checkpoint, read_visual
from fetaliqa.model.json_records import from_json, to_json
from fetaliqa.model.tensor_hashes import short, tensors_sha256
from fetaliqa.model.user_folders import weights_folder

VISUAL_FILE = "fetalclip-visual.safetensors"
TEXT_FILE = "fetalclip-text.safetensors"
RECORD_FILE = "weights.json"
# From a third party's Git LFS pointer to `fetalclip_weights.pt` (jefftrojan/fetalclip-ga), not from the authors,
# so a different hash is reported but accepted.
KNOWN_SOURCE_SHA256 = "90916caa408baf9374ee3f8c1533463331a4ace37a13e61385e782905b35c310"


@dataclass(frozen=True)
class WeightsRecord:
    """Content of ``weights.json``: provenance of the imported weights.

    Attributes:
        source_name: file name of the imported checkpoint.
        source_sha256: hash of that file.
        visual_sha256: content hash of the image encoder's tensors; bundles refer to this one.
        text_sha256: content hash of the other tensors.
        tensor_count: tensors in the checkpoint.
        imported: time of the import, ISO 8601, UTC.
    """

    source_name: str
    source_sha256: str
    visual_sha256: str
    text_sha256: str
    tensor_count: int
    imported: str

    @property
    def source_is_known(self) -> bool:
        """Whether the checkpoint has the hash in ``KNOWN_SOURCE_SHA256``."""
        return self.source_sha256 == KNOWN_SOURCE_SHA256


def import_checkpoint(
    path: Path, folder: Path | None = None, *, source_sha256: str | None = None
) -> WeightsRecord:
    """Convert a published checkpoint to safetensors in the user's folder, replacing earlier weights.

    Args:
        path: ``FetalCLIP_weights.pt``.
        folder: target folder; None for ``weights_folder()``.
        source_sha256: the file's hash, if known.

    Raises:
        WeightsError: when the file is not FetalCLIP's checkpoint, or is damaged or unsafe.
    """
    path = Path(path)
    folder = folder or weights_folder()
    visual, text = read_checkpoint(path, load_architecture("fetalclip").transformer, fetalclip_text())
    record = WeightsRecord(
        source_name=path.name,
        source_sha256=source_sha256 or file_sha256(path),
        visual_sha256=tensors_sha256(visual),
        text_sha256=tensors_sha256(text),
        tensor_count=len(visual) + len(text),
        imported=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    # the record is removed first and written last, so that an interrupted import leaves no record
    (folder / RECORD_FILE).unlink(missing_ok=True)
    for name, state in ((VISUAL_FILE, visual), (TEXT_FILE, text)):
        with atomic_path(folder / name) as temporary:
            save_file({key: tensor.contiguous() for key, tensor in state.items()}, temporary)
    write_json(folder / RECORD_FILE, to_json(record))
    return record


def read_record(folder: Path | None = None) -> WeightsRecord | None:
    """The record of the imported weights, or None when there are none.

    Raises:
        WeightsError: when the record is damaged.
    """
    file = (folder or weights_folder()) / RECORD_FILE
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise WeightsError(f"{file}: not readable ({problem}); import the weights again") from None
    return from_json(WeightsRecord, value, str(file), WeightsError)


def load_visual(
    path: str | Path | None = None, vision: VisionConfig | None = None
) -> tuple[dict[str, torch.Tensor], str]:
    """The image encoder's tensors, checked, and their content hash.

    Args:
        path: a published checkpoint or an imported file; None for the user's imported weights.
        vision: the expected encoder; None for FetalCLIP's.

    Raises:
        WeightsError: when there are no weights, or they are not the expected ones.
    """
    vision = vision or load_architecture("fetalclip").transformer
    if path is not None:
        state = read_visual(Path(path), vision, fetalclip_text())
        return state, tensors_sha256(state)
    folder = weights_folder()
    record = read_record(folder)
    if record is None:
        raise WeightsError(
            f"no FetalCLIP weights in {folder}; run `fetaliqa weights download` or `fetaliqa weights import FILE`"
        )
    state = read_visual(folder / VISUAL_FILE, vision, fetalclip_text())
    sha256 = tensors_sha256(state)
    if sha256 != record.visual_sha256:
        raise WeightsError(
            f"{folder / VISUAL_FILE} has changed since its import (hash {short(sha256)}, recorded "
            f"{short(record.visual_sha256)}); import the weights again"
        )
    return state, sha256

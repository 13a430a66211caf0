"""A checked request for one inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fetaliqa.errors import OptionError
from fetaliqa.inference import AssessOptions
from fetaliqa.measure.fetal_growth import GestationalAge
from fetaliqa.sweep import MASK_SUFFIXES
from monailabel_app.lib.http.refusal import as_refusal

DEFAULT_MASK_SUFFIX = ".nii.gz"  # what MONAI Label's Slicer client asks for when it says nothing


@dataclass(frozen=True)
class InferenceRequest:
    """A checked request for one inference.

    Attributes:
        path: of the sweep.
        options: which part of it is assessed, and how.
        mask_suffix: of the mask file.
        output: ``all``, ``json``, ``image`` or None.
        image_id: in the studies folder; None for a file that the client sent.
        client: who asks, empty when that is unknown.
        age: gestational age, sent as ``gestational_age`` (``24w3d``); None for a DICOM header's.
    """

    path: Path
    options: AssessOptions
    mask_suffix: str
    output: str | None
    image_id: str | None
    client: str
    age: GestationalAge | None = None

    @classmethod
    def of(cls, request: Mapping[str, Any], path: Path, image_id: str | None = None) -> InferenceRequest:
        """From the values that a client sends.

        Raises:
            Refused: when an option cannot be used.
        """
        client = request.get("client_id")
        with as_refusal():
            return cls(
                path,
                AssessOptions.from_request(request),
                mask_suffix(request.get("result_extension")),
                request.get("output"),
                image_id,
                client if isinstance(client, str) else "",
                _age(request.get("gestational_age")),
            )

    @property
    def name(self) -> str:
        """For the log."""
        return self.image_id or self.path.name


def _age(value: Any) -> GestationalAge | None:
    """The age that a client sends.

    Raises:
        GrowthError: when it is not understood.
    """
    return None if value in (None, "") else GestationalAge.parse(str(value), "request")


def mask_suffix(value: Any) -> str:
    """Suffix of the mask file a client asks for by ``result_extension`` (with or without the dot).

    Raises:
        OptionError: for a format masks are not written in.
    """
    if value in (None, ""):
        return DEFAULT_MASK_SUFFIX
    suffix = f".{str(value).lstrip('.').lower()}"
    if suffix not in MASK_SUFFIXES:
        raise OptionError(f"result_extension is {value!r}; it must be one of {', '.join(MASK_SUFFIXES)}")
    return suffix

"""Model bundles: folders with a card and the trained tensors, verified before loading."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fetaliqa.errors import BundleError, WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model.bundle_card import BundleCard, read_card
from fetaliqa.model.bundle_names import CARD_FILE
from fetaliqa.model.interval_file import read_intervals
from fetaliqa.model.tensor_hashes import short

if TYPE_CHECKING:
    import torch

    from fetaliqa.model.encoder_model import EncoderModel


class Bundle:
    """A bundle on disk. Its card is read and checked; tensors are read by ``load_model``.

    Attributes:
        directory: the bundle's folder.
        card: content of ``card.json``.
        fingerprint: SHA-256 of the card's bytes. The card holds the hash of every file, so two bundles with the
            same fingerprint are the same model.
        intervals: calibration of its intervals, or why there is none.
    """

    def __init__(self, directory: Path, card: BundleCard, fingerprint: str) -> None:
        self.directory = directory
        self.card = card
        self.fingerprint = fingerprint
        self.intervals = read_intervals(directory, fingerprint)

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read a bundle's card and check that its files exist.

        Raises:
            BundleError: when the folder is not a complete bundle of a known schema.
        """
        directory = Path(path)
        card = read_card(directory)
        for name in card.files:
            if not (directory / name).is_file():
                raise BundleError(f"{directory}: {name} is missing; copy the whole bundle again")
        fingerprint = hashlib.sha256((directory / CARD_FILE).read_bytes()).hexdigest()
        return cls(directory, card, fingerprint)

    def load_model(
        self,
        weights: str | Path | Mapping[str, torch.Tensor] | None = None,
        device: str | torch.device = "cpu",
        *,
        merge: bool = True,
    ) -> EncoderModel:
        """Load the model in eval mode.

        Args:
            weights: path of the FetalCLIP weights, or the tensors of their image encoder; None for the user's
                imported weights. Not used by a bundle that includes its encoder.
            device: device of the model.
            merge: merge the adapters and batch norms into the weights for inference; False keeps them trainable.

        Raises:
            BundleError: when a file's hash is wrong, tensors are missing or extra, or the base weights are not
                those that the bundle was trained on.
            WeightsError: when the base weights are missing or not FetalCLIP's.
        """
        from fetaliqa.model.bundle_tensors import load_bundle

        return load_bundle(self, weights, device, merge)

    def check_base(self) -> None:
        """Check from their record that the weights imported on this machine are those of this bundle.

        Raises:
            WeightsError: when there are none.
            BundleError: when they differ.
        """
        if self.card.base.kind == "included":
            return
        from fetaliqa.model.fetalclip_weights import read_record

        record = read_record()
        if record is None:
            raise WeightsError(
                f"{self.directory} needs the FetalCLIP weights, and none are imported on this machine; "
                "run `fetaliqa weights download` or `fetaliqa weights import FILE`"
            )
        self.check_base_hash(record.visual_sha256, "the FetalCLIP weights imported on this machine")

    def check_base_hash(self, sha256: str, origin: str) -> None:
        """Check the content hash of base weights.

        Raises:
            BundleError: when the bundle was trained on others.
        """
        expected = self.card.base.sha256
        if sha256 != expected:
            raise BundleError(
                f"{self.directory}: this bundle was trained on an image encoder with hash {short(expected)}, "
                f"but {origin} has {short(sha256)}; its adapter does not match, so it is not loaded"
            )

    def parameter_counts(self) -> dict[str, int]:
        """Number of parameters in ``encoder``, ``adapter`` and ``head``, from the card alone."""
        from fetaliqa.model.bundle_tensors import parameter_counts

        return parameter_counts(self)

    def check_files(self) -> None:
        """Hash all files and compare the hashes with the card.

        Raises:
            BundleError: naming the first file that differs.
        """
        for name, expected in sorted(self.card.files.items()):
            try:
                sha256 = file_sha256(self.directory / name)
            except OSError as problem:
                raise BundleError(f"{self.directory / name}: not readable ({problem.strerror})") from None
            _check_hash(self.directory / name, sha256, expected)

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of one of the bundle's files, checked against the card's hash.

        Raises:
            BundleError: when the file is not readable or its hash differs.
        """
        from fetaliqa.model.bundle_tensors import bundle_tensors

        return bundle_tensors(self, name)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """As :meth:`tensors`, float32 arrays, without torch."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return {key: np.asarray(values, np.float32) for key, values in load(self.content(name)).items()}
        except SafetensorError as problem:
            raise BundleError(f"{self.directory / name}: not a readable safetensors file ({problem})") from None

    def content(self, name: str) -> bytes:
        """The bytes of one of the bundle's files, checked against the card's hash.

        Raises:
            BundleError: when the file is not readable or its hash differs.
        """
        file = self.directory / name
        try:
            content = file.read_bytes()  # read once: the hashed bytes are the loaded ones
        except OSError as problem:
            raise BundleError(f"{file}: not readable ({problem.strerror})") from None
        _check_hash(file, hashlib.sha256(content).hexdigest(), self.card.files[name])
        return content


def _check_hash(file: Path, sha256: str, expected: str) -> None:
    if sha256 != expected:
        raise BundleError(
            f"{file} is damaged or was changed: its hash is {short(sha256)}, the card has {short(expected)}; "
            "copy the bundle again"
        )

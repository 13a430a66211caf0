"""Label pictures: nnU-Net's raw data set, and CVAT's export of segmentation masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from fetaliqa.errors import LabelError, NotFoundError
from fetaliqa.export.incoming.base import NAME, IncomingFrame, named_frame, read_json
from fetaliqa.sweep import Sweep


class _Pictures:
    """Label pictures, one for each frame."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files: dict[str, dict[int, tuple[Path, bool]]] = {}
        for file in sorted(files):
            named = NAME.fullmatch(file.stem)
            if named:
                told = self._files.setdefault(named["case"], {})
                told[int(named["frame"])] = (file, named["proposed"] is not None)

    def cases(self) -> list[str]:
        return sorted(self._files)

    def read(self, case_id: str, sweep: Sweep) -> dict[int, IncomingFrame]:
        return {
            frame: self._frame(_picture(file, sweep), file, proposed)
            for frame, (file, proposed) in sorted(self._files[case_id].items())
        }

    def _frame(self, picture: np.ndarray, file: Path, proposed: bool) -> IncomingFrame:
        raise NotImplementedError


def _picture(file: Path, sweep: Sweep) -> np.ndarray:
    picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise LabelError(f"{file.name}: cannot be read as a picture; export it again")
    if picture.shape[:2] != sweep.shape[1:]:
        size = " x ".join(map(str, picture.shape[:2]))
        expected = " x ".join(map(str, sweep.shape[1:]))
        raise LabelError(f"{file.name}: {size} pixels, but frames of {sweep.case_id} have {expected}")
    return picture


class NnUnetLabels(_Pictures):
    """``labelsTr`` and ``labelsTs`` of a raw data set, with the names of its dataset.json."""

    def __init__(self, path: Path) -> None:
        described = next(iter([*sorted(path.glob("Dataset*/dataset.json")), path / "dataset.json"]))
        if not described.is_file():
            raise NotFoundError(f"{path}: no dataset.json of nnU-Net in it; name the data set's folder")
        super().__init__(described.parent.glob("labelsT[rs]/*.png"))
        labels = read_json(described).get("labels")
        if not isinstance(labels, dict):
            raise LabelError(f"{described.name}: its labels are no object of names and values")
        self._names = {}
        for name, value in labels.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
                raise LabelError(
                    f"{described.name}: label {name!r} is {value!r}; whole numbers are read, regions are not"
                )
            if value > 0:
                self._names[int(value)] = name

    def _frame(self, picture: np.ndarray, file: Path, proposed: bool) -> IncomingFrame:
        values = sorted(set(np.unique(picture).tolist()) - {0})
        unknown = [value for value in values if value not in self._names]
        if unknown:
            raise LabelError(f"{file.name}: holds the value {unknown[0]}, which dataset.json does not name")
        return named_frame(picture > 0, [self._names[value] for value in values], proposed)


class CvatLabels(_Pictures):
    """CVAT's "Segmentation mask": coloured pictures in SegmentationClass, and labelmap.txt."""

    def __init__(self, path: Path) -> None:
        super().__init__((path / "SegmentationClass").rglob("*.png"))
        self._colours: dict[tuple[int, ...], str] = {}
        labels = path / "labelmap.txt"
        if not labels.is_file():
            raise NotFoundError(f"{path}: no labelmap.txt in it; unpack CVAT's export `Segmentation mask`")
        for line in labels.read_text(encoding="utf-8").splitlines():
            name, _, rest = line.partition(":")
            colour = rest.split(":")[0].split(",")
            if line.strip() and not line.startswith("#") and len(colour) == 3:
                try:
                    self._colours[tuple(map(int, colour))] = name
                except ValueError:
                    raise LabelError(
                        f"labelmap.txt: the colour {':'.join(colour)!r} of {name!r} is not three whole numbers"
                    ) from None

    def _frame(self, picture: np.ndarray, file: Path, proposed: bool) -> IncomingFrame:
        if picture.ndim != 3:
            raise LabelError(f"{file.name}: has no colours; take CVAT's export `Segmentation mask`")
        found = np.unique(picture[..., 2::-1].reshape(-1, 3), axis=0)
        names, inside = [], np.zeros(picture.shape[:2], bool)
        for colour in map(tuple, found.tolist()):
            name = self._colours.get(colour)
            if name is None:
                raise LabelError(f"{file.name}: holds the colour {colour}, which labelmap.txt does not name")
            if name != "background":
                names.append(name)
                inside |= (picture[..., 2::-1] == colour).all(axis=2)
        return named_frame(inside, names, proposed)

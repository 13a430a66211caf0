"""The frame store: training frames of a data set on the model's grid, prepared once and memory-mapped.

ACOUSLIC-AI's training frames are about 10 GB on the grid. A store's folder is named by the hash of all that
determines its content, so that the same request reuses it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.datasets.labelled_data import LabelledCase, LabelledData
from fetaliqa.errors import OptionError, SweepError
from fetaliqa.measure.square_grid import GRID, SquareGrid
from fetaliqa.sweep.sweep_ranges import black_slots
from fetaliqa.training.augmented_copies import augmented_copy, make_compose
from fetaliqa.training.dataset_mixture import Mixture
from fetaliqa.training.training_frames import FrameSet, frames_of_case, join

VERSION = 1  # of the stores' content; increase it when the same request would give other frames
HARD_DISTANCE = 15  # frames from an annotated one: the challenge's tolerance
COLUMNS = ("grades", "hard", "weights", "cases", "numbers", "copies", "lost")
BITS_PER_BYTE = 8


@dataclass(frozen=True)
class StoreRequest:
    """Which frames to prepare, and how.

    Attributes:
        size: side of the square grid, pixels.
        labels: ``any`` or ``optimal``, see ``Recipe``.
        measured_sweeps_only: leave out sweeps without a reference circumference.
        frame_step: take every n-th frame.
        keep_positives: take all frames with an outline regardless of ``frame_step``.
        copies: augmented copies of each frame.
        seed: of the copies.
        black_slots: take the black slots that pad a sweep too, as frames without outline.
    """

    size: int = GRID
    labels: str = "any"
    measured_sweeps_only: bool = False
    frame_step: int = 1
    keep_positives: bool = False
    copies: int = 0
    seed: int = 0
    black_slots: bool = False


@dataclass
class FrameStore:
    """Frames ready to train on.

    Attributes:
        frames: the frames, mapped from disk; ``frames.cases`` are indices into ``case_ids``.
        case_ids: names of the cases.
        numbers: int [N], frame number in its case.
        copies: int [N], 0 for the frame itself, else the number of the augmented copy.
        lost: bool [N], copies that lost their whole outline, so that their label flipped.
        key: hash of all that determines the content.
        groups: int [N], groups with equal shares of every batch; None: one group.
        parts: the stores that this one was joined from.
    """

    frames: FrameSet
    case_ids: tuple[str, ...]
    numbers: np.ndarray
    copies: np.ndarray
    lost: np.ndarray
    key: str
    groups: np.ndarray | None = None
    parts: tuple[FrameStore, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Counts, for the run's record."""
        positive = self.frames.grades > 0
        return {
            "cases": len(self.case_ids),
            "frames": len(self.frames),
            "positive_frames": int(positive.sum()),
            "positive_share": round(float(positive.mean()), 4) if len(positive) else None,
            "augmented_copies": int((self.copies > 0).sum()),
            "copies_that_lost_their_outline": int(self.lost.sum()),
            "sha256": self.key,
        }


def prepare_frames(
    data: LabelledData,
    case_ids: Sequence[str],
    request: StoreRequest,
    folder: Path,
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FrameStore:
    """The prepared frames of some cases, from ``folder`` when present.

    Several processes may ask for the same frames: one prepares them, the others wait.

    Raises:
        OptionError: when no frame is left.
        SweepError: when a case cannot be used.
    """
    if isinstance(data, Mixture):
        return _joined(data, case_ids, request, folder, processes, progress)
    key = _key(data, case_ids, request)
    target = folder / key[:24]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        if not target.is_dir():
            with atomic_directory(target) as temporary:
                _write(data, case_ids, request, temporary, processes, progress)
                write_json(temporary / "key.json", {"key": key})
        os.utime(target)  # when it was last asked for
    return open_store(target, key)


def _joined(
    data: Mixture,
    case_ids: Sequence[str],
    request: StoreRequest,
    folder: Path,
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> FrameStore:
    """The stores of a mixture's sources, each cached separately, joined."""
    stores, groups, done = [], [], 0
    for source, own in data.chosen(case_ids):

        def report(ready: int, _: int, before: int = done) -> None:
            if progress is not None:
                progress(before + ready, len(case_ids))

        stores.append(prepare_frames(source.data, own, request, folder, processes=processes, progress=report))
        groups.append(source.group)
        done += len(own)
        if progress is not None:
            progress(done, len(case_ids))
    if not stores:
        raise OptionError(f"{data.name}: a part of the split has no case; make another split")
    return join_stores(stores, groups)


def join_stores(stores: Sequence[FrameStore], groups: Sequence[int]) -> FrameStore:
    """Several stores as one; the frames of each group together weigh as much as those of any other."""
    counts = [len(store.frames) for store in stores]
    joined = join(store.frames for store in stores)
    group = np.repeat(np.asarray(groups, np.int64), counts)
    first = np.cumsum([0, *(len(store.case_ids) for store in stores[:-1])])
    joined.cases = joined.cases + np.repeat(first, counts)
    for number in set(groups):
        joined.weights[group == number] *= len(joined) / len(set(groups)) / joined.weights[group == number].sum()
    key = hashlib.sha256(json.dumps([[store.key for store in stores], list(groups)]).encode()).hexdigest()
    return FrameStore(
        joined,
        tuple(name for store in stores for name in store.case_ids),
        np.concatenate([store.numbers for store in stores]),
        np.concatenate([store.copies for store in stores]),
        np.concatenate([store.lost for store in stores]),
        key,
        group,
        tuple(stores),
    )


def _key(data: LabelledData, case_ids: Sequence[str], request: StoreRequest) -> str:
    decided = [VERSION, data.name, data.fingerprint(), list(case_ids), asdict(request)]
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def open_store(folder: Path, key: str) -> FrameStore:
    """Map a prepared store.

    Raises:
        SweepError: when its files are not as long as its record says.
    """
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    count, size = record["frames"], record["size"]
    with np.load(folder / "columns.npz", allow_pickle=False) as columns:
        column = {name: columns[name] for name in COLUMNS}
    shapes = {"images": (count, size, size), "outlines": (count, size * size // BITS_PER_BYTE)}
    maps = {}
    for name, shape in shapes.items():
        file = folder / f"{name}.u8"
        if file.stat().st_size != int(np.prod(shape)):
            raise SweepError(f"{folder}: {file.name} is damaged; remove the folder, it is prepared again")
        maps[name] = np.memmap(file, np.uint8, "r", shape=shape)
    frames = FrameSet(
        maps["images"],
        maps["outlines"],
        column["grades"],
        column["hard"],
        column["weights"],
        column["cases"],
    )
    return FrameStore(frames, tuple(record["case_ids"]), column["numbers"], column["copies"], column["lost"], key)


@dataclass
class _Part:
    """The frames of one case."""

    frames: FrameSet
    numbers: np.ndarray
    copies: np.ndarray
    lost: np.ndarray


def _write(
    data: LabelledData,
    case_ids: Sequence[str],
    request: StoreRequest,
    folder: Path,
    processes: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    count = 0
    with open(folder / "images.u8", "wb") as images, open(folder / "outlines.u8", "wb") as outlines:
        for done, part in enumerate(_parts(data, case_ids, request, processes), start=1):
            if part is not None:
                images.write(np.ascontiguousarray(part.frames.images).data)
                outlines.write(np.ascontiguousarray(part.frames.outline_bits).data)
                for name in COLUMNS:
                    held = part.frames if name in ("grades", "hard", "weights", "cases") else part
                    columns[name].append(getattr(held, name))
                count += len(part.frames)
            if progress is not None:
                progress(done, len(case_ids))
    if not case_ids:
        raise OptionError(f"{data.name}: a part of the split has no case; make another split")
    if not count:
        raise OptionError(
            f"{data.name}: no frame of the {len(case_ids)} cases is left to train on; check labels and filters"
        )
    np.savez(folder / "columns.npz", **{name: np.concatenate(parts) for name, parts in columns.items()})  # type: ignore[arg-type]
    write_json(folder / "record.json", {"frames": count, "size": request.size, "case_ids": list(case_ids)})


def _parts(
    data: LabelledData, case_ids: Sequence[str], request: StoreRequest, processes: int
) -> Iterator[_Part | None]:
    jobs: Iterable[tuple[int, str]] = enumerate(case_ids)
    if processes == 1 or len(case_ids) == 1:
        for index, case_id in jobs:
            yield _case_part(data, case_id, index, request)
        return
    # spawned, not forked: forking a process with running torch threads can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_single_threaded) as pool:
        count = len(case_ids)
        yield from pool.map(_case_part, [data] * count, case_ids, range(count), [request] * count)


def _single_threaded() -> None:
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _case_part(data: LabelledData, case_id: str, index: int, request: StoreRequest) -> _Part | None:
    case = data.read(case_id)
    masks = case.masks if request.labels == "any" else np.where(case.masks == 1, case.masks, 0)
    grades = np.where(case.grades() == 1, 1, 0) if request.labels == "optimal" else case.grades()
    chosen = _chosen(case, grades, request)
    if not len(chosen):
        return None
    originals = frames_of_case(
        case.frames[chosen],
        masks[chosen],
        hard=_near_annotated(case, grades)[chosen],
        case=index,
        weights=_stand_for(grades[chosen], request) * (1 if case.weights is None else case.weights[chosen]),
        size=request.size,
    )
    parts, copies = [originals], [np.zeros(len(chosen), np.int64)]
    for copy in range(1, request.copies + 1):
        parts.append(_copied(case, masks, chosen, originals, copy, request))
        copies.append(np.full(len(chosen), copy, np.int64))
    joined = join(parts)
    before = np.tile(originals.grades, request.copies + 1)
    return _Part(
        joined,
        np.tile(chosen, request.copies + 1),
        np.concatenate(copies),
        (before > 0) & (joined.grades == 0),
    )


def _chosen(case: LabelledCase, grades: np.ndarray, request: StoreRequest) -> np.ndarray:
    """Frame numbers to take: known, black ones only when asked for, of the sweeps wanted, every n-th."""
    black = black_slots(case.frames)
    usable = case.known | black if request.black_slots else case.known & ~black
    if request.measured_sweeps_only:
        usable &= case.measured()
    numbers = np.flatnonzero(usable)
    taken = numbers % request.frame_step == 0
    if request.keep_positives:
        taken |= grades[numbers] > 0
    return numbers[taken]


def _stand_for(grades: np.ndarray, request: StoreRequest) -> np.ndarray:
    """float [n]: how many frames of its case each selected frame represents."""
    alone = (grades > 0) & request.keep_positives
    return np.where(alone, 1, request.frame_step).astype(np.float32)


def _near_annotated(case: LabelledCase, grades: np.ndarray) -> np.ndarray:
    """bool [T]: no outline, but within 15 frames of one in the same sweep: a hard negative."""
    near = np.zeros(len(grades), bool)
    for start, stop in case.ranges:
        near[start:stop] = near_outlined(grades[start:stop] > 0)
    return near & (grades == 0)


def near_outlined(outlined: np.ndarray) -> np.ndarray:
    """bool [T]: frames of a sweep up to 15 frames from an outlined one (``outlined``, bool [T]); itself too."""
    near = np.zeros(len(outlined), bool)
    for frame in np.flatnonzero(outlined):
        near[max(0, frame - HARD_DISTANCE) : frame + HARD_DISTANCE + 1] = True
    return near


def _copied(
    case: LabelledCase,
    masks: np.ndarray,
    chosen: np.ndarray,
    originals: FrameSet,
    copy: int,
    request: StoreRequest,
) -> FrameSet:
    """One augmented copy of each chosen frame; its label follows from the augmented mask."""
    compose = make_compose()
    side = max(case.frames.shape[1:])
    grid = SquareGrid(side, side, request.size)
    images = np.empty_like(originals.images)
    bits = np.empty_like(originals.outline_bits)
    grades = np.empty_like(originals.grades)
    name = int.from_bytes(hashlib.sha256(case.case_id.encode()).digest()[:4], "big")
    for row, frame in enumerate(chosen):
        seed = (request.seed, name, int(frame), copy)
        picture, mask = augmented_copy(compose, case.frames[frame], masks[frame], seed)
        images[row] = grid.to_square(picture[None]).numpy()[0]
        bits[row] = np.packbits(grid.mask_to_square(mask[None]).ravel())
        grades[row] = originals.grades[row] if mask.any() else 0
    return FrameSet(images, bits, grades, originals.hard, originals.weights, originals.cases)

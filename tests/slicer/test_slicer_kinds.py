"""Studies of other kinds than .mha, opened, labelled and measured in the module against the real server."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server
from dicom_files import a_dataset, a_region, saved
from FetalIQALib.ellipse_measurement import Ellipse
from workspaces import connected, opened, settle

from fetaliqa.labels import LabelStore
from fetaliqa.sweep import read_masks, read_sweep

SHAPE = (6, 60, 80)
ROW, COLUMN = 0.31, 0.28  # mm
KINDS = {"calibrated": ".dcm", "pair": ".mhd", "detached": ".nrrd", "split": ".mha", "zipped": ".nii.gz"}


def write_kinds(folder: Path) -> None:
    """The same frames as each kind of file."""
    row, column = np.mgrid[: SHAPE[1], : SHAPE[2]]
    inside = ((row - 30) / 26) ** 2 + ((column - 40) / 36) ** 2 < 1
    frames = np.random.default_rng(3).integers(60, 200, SHAPE, dtype=np.uint8) * inside.astype(np.uint8)
    image = sitk.GetImageFromArray(frames)
    image.SetSpacing((COLUMN, ROW, 1.0))
    image.SetOrigin((7, -8, 9))
    dataset = a_dataset(frames)
    dataset.SequenceOfUltrasoundRegions = [a_region(COLUMN / 10, ROW / 10, size=200)]  # in cm
    saved(dataset, folder / "calibrated.dcm")
    sitk.WriteImage(image, str(folder / "pair.mhd"))
    sitk.WriteImage(image, str(folder / "zipped.nii.gz"))
    axes = f"space: left-posterior-superior\nspace directions: ({COLUMN},0,0) (0,{ROW},0) (0,0,1)"
    (folder / "detached.raw").write_bytes(frames.tobytes())
    (folder / "detached.nrrd").write_text(
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 80 60 6\n{axes}\n"
        "space origin: (7,-8,9)\nencoding: raw\ndata file: detached.raw\n\n"
    )
    header = (folder / "pair.mhd").read_text().replace("ElementDataFile = pair.raw", "ElementDataFile = split.raw")
    (folder / "split.raw").write_bytes((folder / "pair.raw").read_bytes())
    (folder / "split.mha").write_text(header)


@pytest.fixture(scope="module")
def studies(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the images, with one of each kind; they go again when these tests are over."""
    made = tmp_path_factory.mktemp("kinds")
    write_kinds(made)
    for file in sorted(made.iterdir(), key=lambda path: path.suffix != ".raw"):  # pixels before their headers
        file.replace(server.images / file.name)
    wait_for(lambda: set(KINDS) <= set(server.index()["objects"]))
    yield server.images
    for case in KINDS:
        assert server.raw("DELETE", f"/datastore/image?id={case}").status == 200
    for file in server.images.glob("*.raw"):
        file.unlink()


def wait_for(what, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize("case", KINDS)
def test_a_study_of_any_kind_is_opened_measured_and_labelled(
    server: Server, studies: Path, tmp_path: Path, case: str
) -> None:
    workspace = connected(tmp_path, server.url, tag="kinds")
    annotation = opened(workspace, case)
    sweep = read_sweep(studies / f"{case}{KINDS[case]}")
    assert np.array_equal(annotation.sweep.stack.frames, sweep.frames)
    assert annotation.sweep.stack.spacing_mm == pytest.approx((ROW, COLUMN)), "before the model has answered"
    assert annotation.sweep.spacing_mm == pytest.approx((ROW, COLUMN))

    drawn = Ellipse(40, 30, 20, 14, 0.0).draw(SHAPE[1:])
    assert workspace.controller.draw_mask(2, drawn, "draw")
    a, b = 20 * COLUMN, 14 * ROW
    ramanujan = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
    assert workspace.controller.measurement(2).circumference_mm == pytest.approx(ramanujan, rel=0.02)

    assert workspace.controller.submit()
    settle(workspace)
    assert not annotation.unsaved, workspace.session.status
    version = LabelStore(server.studies / "label-versions").current(case, "kinds")
    assert version.record.known() == [2]
    stored = read_masks(version.mask, sweep)  # on the server's own grid, to the last digit
    assert np.array_equal(stored[2], drawn)
    assert np.flatnonzero(stored.any(axis=(1, 2))).tolist() == [2]


@pytest.mark.parametrize("case", KINDS)
def test_a_download_is_one_file_that_opens_by_itself(
    server: Server, studies: Path, tmp_path: Path, case: str
) -> None:
    answer = server.raw("GET", f"/datastore/image?image={case}")
    name = answer.headers["content-disposition"].split('"')[1]
    info = server.raw("GET", f"/datastore/image/info?image={case}").json()
    assert info["name"] == name
    assert info["grid"]["size"] == [80, 60, 6]
    assert info["grid"]["spacing_mm"] == pytest.approx([ROW, COLUMN])
    (tmp_path / name).write_bytes(answer.body)
    sweep = read_sweep(studies / f"{case}{KINDS[case]}")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))), sweep.frames)
    assert np.array_equal(read_sweep(tmp_path / name).frames, sweep.frames)
    assert read_sweep(tmp_path / name).grid == sweep.grid
    assert not list(server.temporary.glob("fetaliqa-*"))


def test_the_archive_of_a_data_set_holds_images_that_open_by_themselves(
    server: Server, studies: Path, tmp_path: Path
) -> None:
    image = sitk.ReadImage(str(studies / "pair.mhd"))
    mask = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    sitk.WriteImage(mask, str(tmp_path / "label.nii.gz"))
    with open(tmp_path / "label.nii.gz", "rb") as label:
        assert server.call("PUT", "/datastore/label?image=pair&tag=final", files={"label": label}).status == 200
    (tmp_path / "all.zip").write_bytes(server.raw("GET", "/datastore/dataset").body)
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert "label/pair.nii.gz" in archive.namelist()
        archive.extract("image/pair.mha", tmp_path)
    assert np.array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "image" / "pair.mha"))),
        sitk.GetArrayFromImage(image),
    )
    assert server.raw("DELETE", "/datastore/label?id=pair&tag=final").status == 200
    assert not list(server.temporary.glob("fetaliqa-*"))

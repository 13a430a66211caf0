"""What lies beside sweeps on a CD or a shared disk: used, or named with the reason, never dropped silently."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import a_dataset, saved
from PIL import Image
from pydicom.dataset import FileDataset

from fetaliqa.errors import SweepError
from fetaliqa.sweep import case_id_of, is_sweep_path, read_sweep
from fetaliqa.sweep.case_paths import expand_cases, look_into

REPORT = "1.2.840.10008.5.1.4.1.1.88.33"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
INDEX = "1.2.840.10008.1.3.10"


def of_class(sop_class: str, path: Path) -> Path:
    dataset = a_dataset(np.zeros((1, 4, 4), np.uint8))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    if sop_class != SEGMENTATION:
        for keyword in ("PixelData", "Rows", "Columns", "NumberOfFrames"):
            delattr(dataset, keyword)
    path.parent.mkdir(parents=True, exist_ok=True)
    return saved(dataset, path)


def single(frame: np.ndarray, number: int) -> FileDataset:
    dataset = a_dataset(frame[None])
    dataset.InstanceNumber = number
    return dataset


def a_sweep(path: Path, frames: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.parent / f"plain{'.nii.gz' if path.name.lower().endswith('.nii.gz') else path.suffix.lower()}"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((frames, 5, 6), 9, np.uint8)), str(plain))
    return plain.rename(path)


def reasons(folder: Path) -> dict[str, str]:
    return {one.path.name: one.reason for one in look_into(folder)[1]}


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir", "DICOMDIR;1", "DICOMDIR.dcm", "index.dcm", "1.2.840.77"])
def test_the_index_of_a_medium_is_no_case_and_no_frame(tmp_path: Path, frames: np.ndarray, name: str) -> None:
    cines, singles = tmp_path / "cines", tmp_path / "singles"
    for folder in (cines, singles):
        index = of_class(INDEX, folder / name)
        assert not is_sweep_path(index)
    for number in range(2):
        saved(a_dataset(frames), cines / f"IM{number:06d}")
    for number, frame in enumerate(frames[:4]):
        saved(single(frame, number), singles / f"IM{number:06d}")
    assert [case.name for case in expand_cases(cines)] == ["IM000000", "IM000001"]
    assert expand_cases(singles) == [singles]
    assert read_sweep(singles).frame_count == 4
    with pytest.raises(SweepError, match="is the index of a DICOM medium"):
        read_sweep(cines / name)


def test_dicom_objects_without_an_image_are_left_out_by_name(tmp_path: Path, frames: np.ndarray) -> None:
    of_class(REPORT, tmp_path / "SR000001")
    of_class(SEGMENTATION, tmp_path / "outline.dcm")
    for number, frame in enumerate(frames[:3]):
        saved(single(frame, number), tmp_path / f"IM{number}")
    assert expand_cases(tmp_path) == [tmp_path]
    assert set(reasons(tmp_path)) == {"SR000001", "outline.dcm"}
    sweep = read_sweep(tmp_path)
    assert sweep.frame_count == 3
    assert any("SR000001, which is a DICOM report" in note for note in sweep.notes)


@pytest.mark.parametrize("name", ["IM000001", "1.2.840.113.7", "image.001", "scan.IMA", "A B"])
def test_a_dicom_file_needs_no_suffix_and_is_called_as_it_is(
    tmp_path: Path, frames: np.ndarray, name: str
) -> None:
    path = saved(a_dataset(frames), tmp_path / name)
    assert expand_cases(tmp_path) == [path]
    assert case_id_of(path) == read_sweep(path).case_id == name


def test_a_still_image_does_not_take_a_series_of_dicom_frames_apart(tmp_path: Path) -> None:
    for number in range(3):
        saved(single(np.full((8, 8), 40 + number, np.uint8), number), tmp_path / f"{number}.dcm")
    assert expand_cases(tmp_path) == [tmp_path]
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(tmp_path / "still.png")
    assert expand_cases(tmp_path) == [tmp_path]
    with pytest.raises(SweepError, match=r"both images \(still.png, ...\) and DICOM files.*--each"):
        read_sweep(tmp_path)
    assert len(expand_cases(tmp_path, each=True)) == 4


def test_a_still_image_beside_sweeps_is_a_case_of_one_frame(tmp_path: Path) -> None:
    a_sweep(tmp_path / "b.mha")
    for name in ("a.png", "c.JPG", "d.bmp"):
        Image.fromarray(np.full((5, 6), 9, np.uint8)).save(tmp_path / name)
    cases, left_out = look_into(tmp_path)
    assert [case.name for case in cases] == ["a.png", "b.mha", "c.JPG"]
    assert [read_sweep(case).frame_count for case in cases] == [1, 3, 1]
    assert [(one.path.name, "not a PNG or JPEG" in one.reason) for one in left_out] == [("d.bmp", True)]


def test_a_still_image_called_like_a_sweep_beside_it_is_left_out_by_name(tmp_path: Path) -> None:
    stack = a_sweep(tmp_path / "a.nii.gz")
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / name)
    assert expand_cases(tmp_path) == [stack, tmp_path / "b.png"]
    assert reasons(tmp_path) == {"a.png": "a.nii.gz has the same name; rename one of them"}


def test_what_cannot_be_a_case_is_named_and_what_systems_leave_behind_is_not(tmp_path: Path) -> None:
    a_sweep(tmp_path / "a.mha")
    for name in (
        "Thumbs.db",
        ".DS_Store",
        "._a.mha",
        "desktop.ini",
        "notes.txt",
        "list.csv",
        ".a.mha.x8s7d6f5.mha",
    ):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    a_sweep(tmp_path / "__MACOSX" / "._b.mha")
    for name, content in (
        ("old.bmp", b"BM"),
        ("x.xyz", b"x"),
        ("empty", b""),
        ("lone.raw", b"1"),
        (".b.mha", b"1"),
    ):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "gone.mha").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    a_sweep(tmp_path / "patient" / "visit" / "c.mha")
    reasons_by_name = reasons(tmp_path)
    assert set(reasons_by_name) == {"old.bmp", "x.xyz", "empty", "lone.raw", ".b.mha", "gone.mha", "visit"}
    assert "link to a file that is not there" in reasons_by_name["gone.mha"]
    assert "hidden" in reasons_by_name[".b.mha"]


def test_folders_below_a_folder_without_sweeps_are_named(tmp_path: Path, frames: np.ndarray) -> None:
    of_class(INDEX, tmp_path / "DICOMDIR")
    (tmp_path / "DICOM" / "PAT1" / "SE1").mkdir(parents=True)
    saved(a_dataset(frames), tmp_path / "DICOM" / "PAT1" / "SE1" / "IM1")
    with pytest.raises(SweepError, match=r"in folders below it; give them instead \(DICOM/PAT1/SE1\)"):
        expand_cases(tmp_path)


@pytest.mark.parametrize("name", ["A.MHA", "A.NII.GZ", "A.Nii", "A.NRRD"])
def test_suffixes_may_be_in_upper_case(tmp_path: Path, name: str) -> None:
    path = a_sweep(tmp_path / name)
    assert expand_cases(tmp_path) == [path]
    assert (read_sweep(path).case_id, read_sweep(path).frame_count) == ("A", 3)


def test_a_link_is_called_as_it_is_and_not_as_what_it_leads_to(tmp_path: Path, frames: np.ndarray) -> None:
    store, folder = tmp_path / "store", tmp_path / "studies"
    store.mkdir(), folder.mkdir()
    saved(a_dataset(frames), store / "SHA256-0a1b")
    (folder / "case_7").symlink_to(store / "SHA256-0a1b")
    (folder / "case_8.mha").symlink_to(a_sweep(store / "blob.mha"))
    assert [read_sweep(path).case_id for path in expand_cases(folder)] == ["case_7", "case_8"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no such names")
def test_a_name_that_is_not_utf_8_does_not_end_the_process(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"ordner\xfc")
    folder.mkdir()
    for suffix in (".mha", ".nii.gz", ".nrrd"):
        shutil.move(a_sweep(tmp_path / f"a{suffix}"), folder / os.fsdecode(b"gr\xf6\xdfe" + suffix.encode()))
    program = (
        "import sys, numpy; from pathlib import Path; from fetaliqa.sweep import read_sweep, write_masks\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    sweep = read_sweep(path)\n"
        "    write_masks(path.with_name('mask.mha'), numpy.zeros(sweep.shape, 'u1'), sweep)\n"
        "    print(sweep.frame_count, ascii(sweep.case_id))"
    )
    command = [sys.executable, "-c", program, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "3 'gr\\ufffd\\ufffde'\n" * 3), ended.stderr[-300:]

"""Gestational age from a DICOM header."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

from fetaliqa.registry.growth_of_file import growth_of_file
from fetaliqa.sweep.dicom_age import days_since_last_period

AC = {"name": "AC", "mm": 209.8}


def a_file(folder: Path, **values: str) -> Path:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundImageStorage, generate_uid()
    for name, value in values.items():
        setattr(dataset, name, value)
    path = folder / "scan.dcm"
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.save_as(path, write_like_original=False)
    return path


def test_the_age_is_the_acquisition_date_less_the_last_menstrual_date(tmp_path: Path) -> None:
    file = a_file(tmp_path, LastMenstrualDate="20260101", AcquisitionDate="20260621", StudyDate="20260701")
    assert days_since_last_period(file) == 171
    assert days_since_last_period(tmp_path) == 171  # a folder of frames
    growth = growth_of_file(file, AC)
    assert growth is not None
    assert growth["given_age"] == {"days": 171, "source": "DICOM"}
    assert growth["centile"]["percent"] > 0


def test_the_mothers_age_is_not_the_childs(tmp_path: Path) -> None:
    file = a_file(tmp_path, PatientAge="031Y", StudyDate="20260701")
    assert days_since_last_period(file) is None


@pytest.mark.parametrize("period", ["20240101", "20270101", "19000000"])
def test_an_age_that_no_pregnancy_has_is_not_used(tmp_path: Path, period: str) -> None:
    growth = growth_of_file(a_file(tmp_path, LastMenstrualDate=period, StudyDate="20260701"), AC)
    assert growth is not None
    assert (growth["given_age"], growth["centile"]) == (None, None)
    assert any("it is not used" in note for note in growth["notes"]) == (period != "19000000")


def test_other_files_have_no_age(tmp_path: Path) -> None:
    (tmp_path / "frame.png").write_bytes(b"no DICOM")
    assert days_since_last_period(tmp_path / "frame.png") is None
    assert days_since_last_period(tmp_path / "missing.dcm") is None

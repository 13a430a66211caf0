"""Files that a person edits may begin with a byte order mark: editors and tables of other systems write one."""

import json

import pytest

from fetaliqa.datasets.acouslic_folder import read_manifest
from fetaliqa.datasets.split_file import custom
from fetaliqa.labels.frame_record import read_record_file
from fetaliqa.labels.studies_folder import INDEX, find_images, find_studies

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]


@pytest.fixture(params=ENCODINGS)
def saved(request, tmp_path):
    def save(name, content):
        (tmp_path / name).write_text(json.dumps(content), encoding=request.param)
        return tmp_path / name

    return save


def test_records_splits_and_manifests_are_read(saved):
    assert read_record_file(saved("a.frames.json", {"schema": 1})) == {"schema": 1}
    assert read_manifest(saved("manifest.json", {"synthetic": True}).parent) == {"synthetic": True}
    split = saved("split.json", {"train": ["a"], "validation": ["b"], "test": ["c"]})
    assert custom(split).part("validation") == ("b",)


def test_an_index_of_studies_is_read(saved):
    index = {"images_dir": ".", "labels_dir": "labels", "objects": {"a": {"image": {"ext": ".mha"}, "labels": {}}}}
    folder = saved(INDEX, index).parent
    assert find_images(folder) == {"a": folder / "a.mha"}
    assert find_studies(folder) == []

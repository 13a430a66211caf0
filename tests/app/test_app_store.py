"""The guarded studies folder by itself, as the server's worker processes open it."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_harness import write_case, write_mask

from monailabel_app.lib.datastore import GuardedDatastore
from monailabel_app.lib.refusal import Refused

LIMIT = 1 << 20


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    write_case(tmp_path / "studies" / "case_a.mha", 4, seed=1)
    store = GuardedDatastore(str(tmp_path / "studies"), max_file_bytes=LIMIT, auto_reload=False)
    mask = write_mask(tmp_path / "mask.nii.gz", tmp_path / "studies" / "case_a.mha")
    store.save_label("case_a", str(mask), "final", {"who": "a rater"})
    return tmp_path / "studies"


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_store_opened_for_reading_refuses_every_change(studies: Path, tmp_path: Path) -> None:
    store = GuardedDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=False, read_only=True)
    write_case(tmp_path / "new.mha", 3)
    mask = write_mask(tmp_path / "other.mha", studies / "case_a.mha")
    before = _content(studies)
    changes = (
        lambda: store.add_image("new", str(tmp_path / "new.mha"), {}),
        lambda: store.save_label("case_a", str(mask), "final", {}),
        lambda: store.remove_image("case_a"),
        lambda: store.remove_label("case_a", "final"),
        lambda: store.update_image_info("case_a", {"x": 1}),
        lambda: store.update_label_info("case_a", "final", {"x": 1}),
    )
    for change in changes:
        with pytest.raises(Refused, match="for reading only") as refused:
            change()
        assert refused.value.status_code == 403
    assert _content(studies) == before
    assert store.get_label_info("case_a", "final")["who"] == "a rater"


def test_of_two_files_with_one_id_the_first_is_offered_and_the_other_named(
    studies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_case(studies / "case_a.nrrd", 5, seed=2)
    store = GuardedDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=False)
    assert store.list_images() == ["case_a"]
    assert store.image_path("case_a").name == "case_a.mha"
    assert store.has_label("case_a", "final")
    assert "case_a.nrrd is not offered: case_a.mha has the same id" in caplog.text


def test_an_image_that_arrives_twice_at_once_is_kept_once(studies: Path, tmp_path: Path) -> None:
    store = GuardedDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=False)
    first = write_case(tmp_path / "new.mha", 3, seed=5)
    store.add_image("new", str(tmp_path / "new.mha"), {})
    kept = (studies / "new.mha").read_bytes()
    write_case(tmp_path / "new.mha", 4, seed=6)
    with pytest.raises(Refused, match="there is one of this id already"):
        store.add_image("new", str(tmp_path / "new.mha"), {})
    assert len(first) == 3
    assert (studies / "new.mha").read_bytes() == kept
    assert not [path for path in studies.iterdir() if path.name.startswith(".new")]

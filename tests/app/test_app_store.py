"""The guarded studies folder by itself, as the server's worker processes open it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import write_case, write_mask

from fetaliqa.errors import LabelError
from fetaliqa.labels import LabelStore
from fetaliqa.labels.studies import Studies
from monailabel_app.lib.datastore.studies_datastore import StudiesDatastore
from monailabel_app.lib.http.refusal import Refused

LIMIT = 1 << 20


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    write_case(tmp_path / "studies" / "case_a.mha", 4, seed=1)
    store = StudiesDatastore(str(tmp_path / "studies"), max_file_bytes=LIMIT, auto_reload=False)
    mask = write_mask(tmp_path / "mask.nii.gz", tmp_path / "studies" / "case_a.mha")
    store.save_label("case_a", str(mask), "final", {"who": "a rater"})
    return tmp_path / "studies"


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_store_opened_for_reading_refuses_every_change(studies: Path, tmp_path: Path) -> None:
    store = StudiesDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=False, read_only=True)
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


def _opened(studies: Path, **options) -> StudiesDatastore:
    return StudiesDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=False, **options)


def _saved(store: StudiesDatastore, studies: Path, tmp_path: Path, **info) -> int:
    mask = write_mask(tmp_path / "next.nii.gz", studies / "case_a.mha")
    return store.save_version("case_a", str(mask), "final", info).version


def test_a_worker_with_an_old_copy_of_the_index_loses_no_label(studies: Path, tmp_path: Path) -> None:
    server, worker = _opened(studies), _opened(studies)  # the worker has read the index
    assert _saved(server, studies, tmp_path, who="somebody else") == 2
    worker.update_image_info("case_a", {"scored": 0.5})  # and now writes it
    assert _opened(studies).get_label_info("case_a", "final")["who"] == "somebody else"
    server.update_image_info("case_a", {"seen": True})
    assert _opened(studies).get_image_info("case_a")["scored"] == 0.5


def test_what_another_program_dropped_from_the_index_is_made_again(
    studies: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = studies / "datastore_v2.json"
    old = index.read_text()
    server = _opened(studies)
    assert _saved(server, studies, tmp_path, who="second") == 2
    index.write_text(old.replace('"final"', '"finally"'))  # a stale writer that knows nothing of our lock
    (studies / "labels/final/case_a.nii.gz").unlink()
    server.refresh()
    assert server.get_label_info("case_a", "final")["who"] == "second"
    assert server.get_label_info("case_a", "final")["version"] == 2
    assert (studies / "labels/final/case_a.nii.gz").read_bytes() == (tmp_path / "next.nii.gz").read_bytes()
    assert "label final of case_a" in caplog.text
    assert "version 2" in caplog.text
    index.unlink()
    assert _opened(studies).get_label_info("case_a", "final")["who"] == "second"


def test_a_label_of_before_there_were_versions_becomes_the_first(studies: Path, tmp_path: Path) -> None:
    before = (studies / "labels/final/case_a.nii.gz").read_bytes()
    shutil.rmtree(studies / "label-versions")
    store = _opened(studies)
    assert _saved(store, studies, tmp_path, who="second") == 2
    first = store.labels.version("case_a", "final", 1)
    assert first.mask.read_bytes() == before
    assert first.info["who"] == "a rater"


def test_a_save_from_an_outdated_version_is_refused(studies: Path, tmp_path: Path) -> None:
    store = _opened(studies)
    assert _saved(store, studies, tmp_path, who="bo", user="bo", based_on=1) == 2
    with pytest.raises(
        Refused, match=r"based on version 1, but version 2 was saved meanwhile .* by bo"
    ) as refused:
        _saved(store, studies, tmp_path, who="anna", based_on=1)
    assert refused.value.status_code == 409
    with pytest.raises(Refused, match="based_on is 'x'; the number of a version") as refused:
        _saved(store, studies, tmp_path, based_on="x")
    assert refused.value.status_code == 400
    assert store.get_label_info("case_a", "final")["who"] == "bo"
    assert "based_on" not in store.get_label_info("case_a", "final")


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ({"99": {"state": "empty"}}, "its record names frame 99; its frames are 0 to 3"),
        ({"0": {"state": "seen"}}, "state 'seen'; it must be one of"),
        ({"0": {"state": "annotated"}}, "frame 0 is annotated"),
        ({"2": {"state": "empty"}}, "frame 2 is empty"),
    ],
)
def test_a_record_that_contradicts_its_masks_is_refused(studies, tmp_path, frames, sentence) -> None:
    store = _opened(studies)
    image = sitk.ReadImage(str(studies / "case_a.mha"))
    drawn = np.zeros(image.GetSize()[::-1], np.uint8)
    drawn[2, 5:9, 5:9] = 1
    mask = sitk.GetImageFromArray(drawn)
    mask.CopyInformation(image)
    sitk.WriteImage(mask, str(tmp_path / "drawn.nii.gz"))
    record = {"schema": 1, "frames": frames}
    with pytest.raises(Refused, match=sentence) as refused:
        store.save_label("case_a", str(tmp_path / "drawn.nii.gz"), "final", {"frame_record": record})
    assert refused.value.status_code == 400
    assert store.labels.latest("case_a", "final") == 1
    fine = {"schema": 1, "frames": {"2": {"state": "annotated", "plane": "optimal"}, "0": {"state": "empty"}}}
    store.save_label("case_a", str(tmp_path / "drawn.nii.gz"), "final", {"frame_record": fine})
    assert store.labels.current("case_a", "final").record.known() == [0, 2]
    case = Studies(studies).read("case_a")  # what training reads
    assert np.flatnonzero(case.known).tolist() == [0, 2]
    assert np.flatnonzero(case.grades()).tolist() == [2]
    # a client that knows no records must not end that
    with pytest.raises(Refused, match="version 2") as refused:
        store.save_label("case_a", str(tmp_path / "drawn.nii.gz"), "final", {})
    assert refused.value.status_code == 409
    assert store.labels.latest("case_a", "final") == 2
    store.save_label("case_a", str(tmp_path / "drawn.nii.gz"), "ben", {})
    assert Studies(studies).confirmed("case_a") == (1, 1)


def test_a_label_stays_truth_when_the_calibration_of_its_image_is_corrected(studies: Path, tmp_path: Path) -> None:
    store = _opened(studies)
    drawn = _saved(store, studies, tmp_path, frame_record={"schema": 1, "frames": {"0": {"state": "annotated"}}})
    assert drawn == 2
    image = sitk.ReadImage(str(studies / "case_a.mha"))
    image.SetSpacing((0.2, 0.2, 1.0))
    sitk.WriteImage(image, str(studies / "case_a.mha"))
    case = Studies(studies).read("case_a")
    assert np.flatnonzero(case.known).tolist() == [0]
    assert case.masks[0].any()
    assert _opened(studies).writer.restore("case_a", "final", 2, {}).restored_from == 2


def test_a_removed_label_can_be_restored_and_is_no_truth_meanwhile(studies: Path, tmp_path: Path) -> None:
    store = _opened(studies)
    store.remove_label("case_a", "final")
    assert not store.has_label("case_a", "final")
    assert not (studies / "labels/final/case_a.nii.gz").exists()
    assert Studies(studies).entries() == []
    store.refresh()
    assert not store.has_label("case_a", "final")
    assert store.writer.restore("case_a", "final", 1, {"user": "bo"}).version == 3
    assert _opened(studies).get_label_info("case_a", "final")["who"] == "a rater"
    with pytest.raises(Refused, match="there is no version 9"):
        store.writer.restore("case_a", "final", 9, {})


def test_what_is_added_to_a_label_is_a_version_too(studies: Path) -> None:
    store = _opened(studies)
    store.update_label_info("case_a", "final", {"remark": "check again"})
    assert store.get_label_info("case_a", "final")["remark"] == "check again"
    assert store.get_label_info("case_a", "final")["who"] == "a rater"
    assert [found.info.get("remark") for found in store.labels.history("case_a", "final")] == [None, "check again"]


def test_a_full_disk_is_reported_and_loses_nothing(studies: Path, tmp_path: Path, monkeypatch) -> None:
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = _opened(studies)
    before = _content(studies)
    monkeypatch.setattr("fetaliqa.labels.label_store._copy", full)
    with pytest.raises(Refused, match="not saved, and nothing changed: the disk is full"):
        _saved(store, studies, tmp_path)
    assert {name: data for name, data in _content(studies).items() if name in before} == before
    assert store.get_label_info("case_a", "final")["who"] == "a rater"
    monkeypatch.undo()
    # saved, but the copy that MONAI Label's clients see cannot be written: it is made later
    monkeypatch.setattr("monailabel_app.lib.datastore.image_index.write_text", full)
    assert _saved(store, studies, tmp_path, who="second") == 2
    monkeypatch.undo()
    assert _opened(studies).get_label_info("case_a", "final")["who"] == "second"


def test_of_two_files_with_one_id_the_first_is_offered_and_the_other_named(
    studies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_case(studies / "case_a.nrrd", 5, seed=2)
    store = StudiesDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=False)
    assert store.list_images() == ["case_a"]
    assert store.image_path("case_a").name == "case_a.mha"
    assert store.has_label("case_a", "final")
    assert "case_a.nrrd is not offered: case_a.mha has the same id" in caplog.text


def test_an_image_that_arrives_twice_at_once_is_kept_once(studies: Path, tmp_path: Path) -> None:
    store = StudiesDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=False)
    first = write_case(tmp_path / "new.mha", 3, seed=5)
    store.add_image("new", str(tmp_path / "new.mha"), {})
    kept = (studies / "new.mha").read_bytes()
    write_case(tmp_path / "new.mha", 4, seed=6)
    with pytest.raises(Refused, match="this id is in use already"):
        store.add_image("new", str(tmp_path / "new.mha"), {})
    assert len(first) == 3
    assert (studies / "new.mha").read_bytes() == kept
    assert not [path for path in studies.iterdir() if path.name.startswith(".new")]


def test_another_image_of_the_same_id_inherits_no_label(studies: Path, tmp_path: Path) -> None:
    store = _opened(studies)
    store.labels.pick("case_a", "final", 1, "agreed", "carla")  # which the index has not seen yet
    store.remove_image("case_a")
    write_case(tmp_path / "case_a.mha", 4, seed=9)
    store.add_image("case_a", str(tmp_path / "case_a.mha"), {})
    assert not store.has_label("case_a", "final")
    assert not store.has_label("case_a", "agreed")
    assert Studies(studies).entries() == []
    assert list((studies / "label-versions" / ".retired").iterdir())


def test_labels_of_other_pixels_are_no_truth(studies: Path, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "of_these.nii.gz", studies / "case_a.mha")
    store = _opened(studies)
    store.save_label("case_a", str(mask), "final", {})
    assert Studies(studies).read("case_a")
    write_case(studies / "case_a.mha", 4, seed=9)  # by hand, in place
    with pytest.raises(LabelError, match="its label was made for other pixels"):
        Studies(studies).read("case_a")
    with pytest.raises(Refused, match="was made for other pixels"):
        store.writer.restore("case_a", "final", 1, {})
    write_case(studies / "case_a.mha", 7, seed=9)
    with pytest.raises(Refused) as refused:
        store.writer.restore("case_a", "final", 1, {})
    assert refused.value.status_code == 400


def test_a_label_that_another_program_put_there_becomes_a_version(studies: Path, tmp_path: Path) -> None:
    from monailabel.datastore.local import LocalDatastore

    theirs = write_mask(tmp_path / "theirs.nii.gz", studies / "case_a.mha", dtype=np.uint16)
    stock = LocalDatastore(str(studies), extensions=("*.mha", "*.nii.gz"))
    stock.save_label("case_a", str(theirs), "final", {"who": "another program"})
    store = _opened(studies)
    raters = [found.info.get("who") for found in store.labels.history("case_a", "final")]
    assert raters == ["a rater", "another program"]
    assert store.get_label_info("case_a", "final")["who"] == "another program"
    assert store.current_label("case_a", "final")[0].read_bytes() == theirs.read_bytes()
    store.remove_label("case_a", "final")
    by_hand = write_mask(tmp_path / "x.mha", studies / "case_a.mha")
    shutil.copy(by_hand, studies / "labels/final/case_a.mha")
    again = _opened(studies)
    assert again.has_label("case_a", "final")
    assert again.labels.latest("case_a", "final") == 4


def test_an_index_that_nobody_can_read_is_put_aside_and_made_again(studies: Path) -> None:
    (studies / "datastore_v2.json").write_text('{"name": ')
    store = _opened(studies)
    assert store.get_label_info("case_a", "final")["who"] == "a rater"
    assert [path.name for path in studies.glob("datastore_v2.json.damaged-*")]
    (studies / "datastore_v2.json").write_text("")  # while it runs
    store.update_image_info("case_a", {"x": 1})
    assert store.get_label_info("case_a", "final")["who"] == "a rater"
    assert _opened(studies).get_image_info("case_a")["x"] == 1


def test_a_version_made_beside_the_server_is_followed(studies: Path, tmp_path: Path) -> None:
    server = _opened(studies)
    assert _saved(server, studies, tmp_path, who="second") == 2
    LabelStore(studies / "label-versions").restore("case_a", "final", 1)  # as fetaliqa labels does
    assert server.get_label_info("case_a", "final")["version"] == 3
    assert _saved(server, studies, tmp_path, based_on=3) == 4


def test_what_is_added_to_a_label_is_checked_like_a_label(studies: Path) -> None:
    store = _opened(studies)
    record = {"schema": 1, "frames": {"99": {"state": "empty"}}}
    with pytest.raises(Refused, match="names frame 99"):
        store.update_label_info("case_a", "final", {"frame_record": record})
    with pytest.raises(Refused, match="based on version 7"):
        store.update_label_info("case_a", "final", {"based_on": 7})
    assert store.labels.latest("case_a", "final") == 1


def test_reviews_and_restoring_need_a_writable_folder(studies: Path) -> None:
    store = _opened(studies, read_only=True)
    for change in (
        lambda: store.writer.review("case_a", "final", 1, "accepted", "carla", ""),
        lambda: store.writer.restore("case_a", "final", 1, {}),
        lambda: store.writer.pick("case_a", "final", 1, "agreed", "carla"),
    ):
        with pytest.raises(Refused, match="for reading only"):
            change()


def test_an_image_copied_in_meanwhile_is_not_overwritten(studies: Path, tmp_path: Path) -> None:
    store = _opened(studies)
    write_case(studies / "new.mha", 3, seed=5)  # not in the index yet
    kept = (studies / "new.mha").read_bytes()
    write_case(tmp_path / "new.mha", 4, seed=6)
    with pytest.raises(Refused, match="this id is in use already"):
        store.add_image("new", str(tmp_path / "new.mha"), {})
    assert (studies / "new.mha").read_bytes() == kept


def test_a_video_is_a_study_like_any_other(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "loop.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in np.random.default_rng(2).integers(0, 255, (4, 48, 64), np.uint8):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame, format="gray").reformat(format="yuv420p"))
            )
        container.mux(stream.encode())
    (tmp_path / "studies").mkdir()
    shutil.copy(tmp_path / "loop.mp4", tmp_path / "studies" / "first.mp4")
    store = _opened(tmp_path / "studies")
    assert store.list_images() == ["first"]
    store.add_image("second", str(tmp_path / "loop.mp4"), {})
    assert sorted(store.list_images()) == ["first", "second"]
    mask = np.zeros((4, 48, 64), np.uint8)
    mask[1, 10:30, 10:40] = 1
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(tmp_path / "mask.mha"))
    record = {"frame_record": {"schema": 1, "frames": {"1": {"state": "annotated", "plane": "optimal"}}}}
    store.save_label("second", str(tmp_path / "mask.mha"), "final", record)
    case = Studies(tmp_path / "studies").read("second")  # what training reads
    assert case.known.tolist() == [False, True, False, False]
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "loop.mp4").read_bytes()[:700])
    with pytest.raises(Refused, match=r"cut\.mp4: .*(damaged|truncated)"):
        store.add_image("third", str(tmp_path / "cut.mp4"), {})

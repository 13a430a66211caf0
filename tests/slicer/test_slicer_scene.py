"""The scene on real MRML (slicer-core): what is shown, what is taken over, and what scrolling must never do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
pytest.importorskip("vtk", reason="vtk cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

import vtk  # noqa: E402
from FetalIQALib import palette  # noqa: E402
from FetalIQALib.casework import CaseWork  # noqa: E402
from FetalIQALib.decisions import ANNOTATED, Frame  # noqa: E402
from FetalIQALib.ellipse_tool import ellipse_of_axes  # noqa: E402
from FetalIQALib.frames_view import OWNER, PRESETS  # noqa: E402
from FetalIQALib.journal import Journals, read_journal  # noqa: E402
from FetalIQALib.masks import Mask  # noqa: E402
from FetalIQALib.opening import Opened  # noqa: E402
from FetalIQALib.outline import Ellipse  # noqa: E402
from FetalIQALib.overlay import ABDOMEN, ELLIPSE, LABELMAP, OTHER, PROPOSAL  # noqa: E402
from FetalIQALib.replies import Saved  # noqa: E402
from FetalIQALib.scene import SweepScene  # noqa: E402
from FetalIQALib.sweep import Sweep  # noqa: E402
from FetalIQALib.workplace import Workplace  # noqa: E402
from slice_view import Mrml, SliceView  # noqa: E402
from vtk.util import numpy_support  # noqa: E402
from workplaces import SHAPE, a_sweep, ellipse_mask  # noqa: E402


class Bench:
    """A workplace with a case on the desk and a scene, no server."""

    def __init__(self, folder: Path, sweep: Sweep) -> None:
        self.mrml = Mrml()
        self.place = Workplace(folder)
        self.place.journals = Journals(folder, "http://none")
        self.scene = SweepScene(self.mrml.scene, self.mrml.sequences, self.place.desk)
        self.desk = self.place.desk
        self.put(sweep)

    def put(self, sweep: Sweep) -> None:
        self.desk.work = CaseWork(sweep, "anna")
        self.desk.position = 0
        self.place.hub.tell("case")

    @property
    def work(self) -> CaseWork:
        return self.desk.work

    def labelmap(self, segment: str) -> np.ndarray:
        node = self.scene.overlay.human if segment == ABDOMEN else self.scene.overlay.beside
        frame = np.zeros(self.work.sweep.shape, np.uint8)
        image = node.GetSegmentation().GetSegment(segment).GetRepresentation(LABELMAP)
        x0, x1, y0, y1, _, _ = image.GetExtent()
        values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        frame[y0 : y1 + 1, x0 : x1 + 1] = values.reshape(y1 - y0 + 1, x1 - x0 + 1)
        return frame

    def edit(self, mask: np.ndarray) -> None:
        """Change the person's mask the way the Segment Editor's effects do: through the segmentations logic."""
        overlay = self.scene.overlay
        image = slicer.vtkOrientedImageData()
        image.DeepCopy(overlay._image(mask))
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        assert logic.SetBinaryLabelmapToSegment(image, overlay.human, ABDOMEN, logic.MODE_REPLACE)

    def stroke(self, mask: np.ndarray) -> None:
        """The edit, and the timer that follows it."""
        self.edit(mask)
        self.scene.follow()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, a_sweep())


def test_every_frame_is_shown_with_its_pixels_and_spacing(bench: Bench) -> None:
    for frame in (0, 29, 7, 15):
        bench.desk.go_to(frame)
        volume = bench.scene.frames.volume
        assert np.array_equal(slicer.util.arrayFromVolume(volume)[0], bench.work.sweep.stack.frames[frame])
        assert volume.GetSpacing()[:2] == pytest.approx((0.28, 0.31))
        assert bench.scene.frames.browser.GetSelectedItemNumber() == frame
    assert bench.scene.frames.sequence.GetNumberOfDataNodes() == 30


def test_scrolling_through_all_frames_leaves_record_and_masks_untouched(tmp_path: Path) -> None:
    """The trap: a segmentation sequence in its default mode would have made 140 masks of this one."""
    bench = Bench(tmp_path, a_sweep(140, range(40, 90)))
    bench.desk.go_to(50)
    bench.desk.act("accept", lambda work: work.accept(50))
    before, masks, revision = bench.work.record(), bench.work.masks(), bench.work.revision
    for frame in [*range(140), *range(139, -1, -1)]:
        bench.desk.go_to(frame)
        bench.scene.follow()
    for frame in range(140):  # and through the browser's own tool bar
        bench.scene.frames.browser.SetSelectedItemNumber(frame)
        bench.scene.follow()
        assert bench.desk.position == frame
        assert bench.labelmap(ABDOMEN).any() == (frame == 50)
    assert (bench.work.record(), bench.work.masks(), bench.work.revision) == (before, masks, revision)
    assert bench.mrml.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2
    sequences = bench.mrml.scene.GetNodesByClass("vtkMRMLSequenceNode")
    assert [sequences.GetItemAsObject(i).GetDataNodeClassName() for i in range(sequences.GetNumberOfItems())] == [
        "vtkMRMLScalarVolumeNode"
    ]


def test_the_trap_is_there_in_this_slicer(bench: Bench) -> None:
    """Why masks are not kept in a segmentation sequence: when this fails, Slicer's default has changed."""
    mrml = Mrml()
    sequence = mrml.scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for frame in range(2):
        sequence.SetDataNodeAtValue(slicer.vtkMRMLScalarVolumeNode(), str(frame))
    browser = mrml.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    masks = mrml.scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    masks.SetDataNodeAtValue(slicer.vtkMRMLSegmentationNode(), "0")
    browser.AddSynchronizedSequenceNodeID(masks.GetID())
    assert browser.GetMissingItemMode(masks) == browser.MissingItemCreateFromPrevious


def test_a_stroke_is_one_action_on_the_frame_it_was_drawn_on(bench: Bench) -> None:
    bench.desk.go_to(15)
    bench.edit(ellipse_mask())
    bench.desk.go_to(16)  # faster than the timer: the stroke belongs to 15 all the same
    assert bench.work.frame(15).state == ANNOTATED
    assert np.array_equal(bench.work.masks()[15].full(), ellipse_mask())
    assert 16 not in bench.work.frames
    assert not bench.labelmap(ABDOMEN).any()
    bench.stroke(ellipse_mask(30))
    bench.desk.act("undo", lambda work: work.undo() and None)
    assert sorted(bench.work.masks()) == [15]
    assert not bench.labelmap(ABDOMEN).any()
    bench.desk.act("undo", lambda work: work.undo() and None)
    assert bench.work.masks() == {}


def test_a_stroke_is_kept_on_the_disk_at_once(bench: Bench) -> None:
    bench.desk.go_to(15)
    bench.stroke(ellipse_mask())
    assert '"15"' in bench.place.journals.path("case_a", "final").read_text()


def test_erasing_and_small_edits_at_the_rim_are_exact(bench: Bench) -> None:
    bench.desk.go_to(3)
    rim = np.zeros(SHAPE, np.uint8)
    rim[0, 0] = rim[-1, -1] = rim[0, -1] = 1
    bench.stroke(rim)
    assert np.array_equal(bench.work.masks()[3].full(), rim)
    rim[0, 0] = 0
    bench.stroke(rim)
    assert np.array_equal(bench.work.masks()[3].full(), rim)
    bench.stroke(np.zeros(SHAPE, np.uint8))
    assert bench.work.frames == {}


def test_the_overlay_shows_what_is_decided_and_what_is_proposed(bench: Bench) -> None:
    bench.desk.go_to(15)
    proposed = bench.work.sweep.assessment.proposals[15].mask.full()
    assert np.array_equal(bench.labelmap(PROPOSAL), proposed)
    assert not bench.labelmap(ABDOMEN).any()
    measured = bench.labelmap(ELLIPSE)
    assert np.count_nonzero(measured & proposed) / np.count_nonzero(measured | proposed) > 0.95
    theirs = {15: bench.work.sweep.assessment.proposals[12].mask}
    bench.scene.other = theirs.get
    bench.desk.act("accept", lambda work: work.accept(15))
    assert np.array_equal(bench.labelmap(ABDOMEN), proposed)
    assert bench.labelmap(OTHER).any()
    bench.desk.go_to(2)
    assert not any(bench.labelmap(segment).any() for segment in (ABDOMEN, PROPOSAL, ELLIPSE, OTHER))


def test_the_ellipse_tool_makes_one_action_of_four_clicks(bench: Bench) -> None:
    bench.desk.go_to(4)
    assert bench.scene.start_ellipse()
    matrix = vtk.vtkMatrix4x4()
    bench.scene.frames.volume.GetIJKToRASMatrix(matrix)
    wanted = Ellipse(40, 30, 20, 12, 0.5)
    for along, across in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        x = wanted.x + along * wanted.a * np.cos(0.5) - across * wanted.b * np.sin(0.5)
        y = wanted.y + along * wanted.a * np.sin(0.5) + across * wanted.b * np.cos(0.5)
        bench.scene.tool.node.AddControlPointWorld(matrix.MultiplyPoint((x, y, 0, 1))[:3])
    assert bench.work.masks() == {}
    bench.scene.follow()
    assert np.array_equal(bench.work.masks()[4].full(), wanted.draw(SHAPE))
    assert not bench.scene.tool.active
    bench.desk.act("undo", lambda work: work.undo() and None)
    assert bench.work.masks() == {}


def test_axes_placed_off_the_middle_and_the_shorter_first() -> None:
    found = ellipse_of_axes([(30, 10), (30, 30), (10, 24), (60, 24)])
    assert (found.x, found.y, found.a, found.b) == pytest.approx((35, 20, 25, 10))
    assert np.degrees(found.angle) == pytest.approx(0, abs=1e-6)
    found = ellipse_of_axes([(0, 20), (60, 20), (40, 5), (40, 45)])
    assert (found.x, found.y, found.a, found.b) == pytest.approx((30, 25, 30, 20))
    assert ellipse_of_axes([(5, 5), (5.5, 5), (1, 1), (9, 9)]) is None
    assert ellipse_of_axes([(5, 5), (25, 5), (10, 5), (20, 5)]) is None


def test_the_users_own_nodes_are_never_touched(bench: Bench) -> None:
    theirs = bench.mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "theirs")
    bench.put(a_sweep(12))
    bench.scene.clear()
    assert theirs.GetScene() is bench.mrml.scene
    nodes = bench.mrml.scene.GetNodes()
    owned = [nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems())]
    assert [node.GetName() for node in owned if node.GetAttribute(OWNER)] == []


@pytest.mark.parametrize("which", ["human", "beside", "volume", "browser", "sequence", "segment"])
def test_nodes_deleted_by_the_user_come_back_with_all_decisions(bench: Bench, which: str) -> None:
    bench.desk.go_to(15)
    bench.desk.act("accept", lambda work: work.accept(15))
    record = bench.work.record()
    if which == "segment":
        bench.scene.overlay.human.GetSegmentation().RemoveSegment(ABDOMEN)
    else:
        owner = bench.scene.overlay if which in ("human", "beside") else bench.scene.frames
        bench.mrml.scene.RemoveNode(getattr(owner, which))
    bench.desk.act("empty", lambda work: work.mark_empty(2))  # keys work on while the nodes are gone
    bench.scene.follow()
    assert bench.work.record()["frames"]["15"] == record["frames"]["15"]
    assert bench.work.frame(2).state == "empty"
    assert bench.labelmap(ABDOMEN).any()
    assert np.array_equal(
        slicer.util.arrayFromVolume(bench.scene.frames.volume)[0], bench.work.sweep.stack.frames[15]
    )
    bench.stroke(ellipse_mask())
    assert np.array_equal(bench.work.masks()[15].full(), ellipse_mask())


def test_closing_the_scene_keeps_the_work(bench: Bench) -> None:
    bench.desk.go_to(15)
    bench.edit(ellipse_mask())
    bench.scene.closing()
    bench.mrml.scene.Clear(0)
    bench.scene.follow()
    assert bench.desk.work is None
    assert "kept" in bench.place.hub.status.text
    assert '"15"' in bench.place.journals.path("case_a", "final").read_text()


def test_window_presets_and_hidden_proposals(bench: Bench) -> None:
    display = bench.scene.frames.volume.GetDisplayNode()
    for number, (_name, window, level) in enumerate(PRESETS):
        bench.scene.frames.window(number)
        assert (display.GetWindow(), display.GetLevel()) == (window, level)
    bench.scene.show_proposals(False)
    assert not bench.scene.overlay.beside.GetDisplayNode().GetVisibility()
    assert bench.scene.overlay.human.GetDisplayNode().GetVisibility()
    bench.put(a_sweep(12))
    assert bench.scene.frames.volume.GetDisplayNode().GetWindow() == PRESETS[-1][1]
    assert not bench.scene.overlay.beside.GetDisplayNode().GetVisibility()


def test_the_plot_has_the_frames_and_follows(bench: Bench) -> None:
    plots = bench.scene.plots
    assert plots.table.GetNumberOfRows() == 30
    bench.desk.go_to(11)
    assert plots._position.GetTable().GetColumn(0).GetValue(0) == 11
    assert plots.frame_of(11) == 11
    assert plots.frame_of(99) is None


def test_the_real_slice_view_draws_both_masks_in_their_colours(bench: Bench) -> None:
    view = SliceView(bench.mrml, (480, 360))
    bench.desk.go_to(15)
    view.show(bench.scene.frames.volume)
    human = np.zeros(SHAPE, np.uint8)
    human[5:15, 5:20] = 1  # upper left, away from the proposal
    bench.stroke(human)
    picture = view.picture().astype(int)
    for colour, (x, y) in ((palette.HUMAN, (0.15, 0.15)), (palette.PROPOSAL, (0.55, 0.5))):
        rows, columns = np.nonzero(abs(picture - colour).sum(axis=2) < 60)
        assert len(rows) > 40
        # not mirrored: the mask is on the side where it was drawn
        assert abs(columns.mean() / 480 - x) < 0.1
        assert abs(rows.mean() / 360 - y) < 0.1


def under_way(bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str, answer: object) -> None:
    """A server whose next answer is this one, without sockets."""
    bench.place.hub.client = object()
    monkeypatch.setattr(where, lambda *_values: answer)


def answered(bench: Bench) -> None:
    """The answer arrives before the timer looked at what was drawn."""
    while bench.place.runner.busy():
        bench.place.runner.pump()


@pytest.mark.parametrize("position", [0, 4])
def test_a_stroke_drawn_while_the_assessment_arrives_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    """At frame 0 the desk also goes on to the best frame when the model has answered."""
    bench = Bench(tmp_path, a_sweep(assessed=False))
    bench.desk.go_to(position)
    under_way(bench, monkeypatch, "FetalIQALib.desk.assess_case", a_sweep().assessment)
    assert bench.desk.assess()
    bench.edit(ellipse_mask())
    answered(bench)
    assert bench.work.sweep.assessment is not None
    assert np.array_equal(bench.work.masks()[position].full(), ellipse_mask())
    assert sorted(bench.work.masks()) == [position]


def test_a_stroke_drawn_while_a_submit_is_answered_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.desk.go_to(15)
    bench.desk.act("accept", lambda work: work.accept(15))
    under_way(bench, monkeypatch, "FetalIQALib.submitting.Submission.send", 1)
    monkeypatch.setattr(bench.place.worklist, "refresh", lambda **_values: None)
    assert bench.desk.submit()
    bench.edit(ellipse_mask())
    answered(bench)
    assert np.array_equal(bench.work.masks()[15].full(), ellipse_mask())
    assert np.array_equal(bench.labelmap(ABDOMEN), ellipse_mask())
    assert (bench.work.based_on, bench.work.unsaved) == (1, True)  # version 1 is the mask without the stroke


def test_a_stroke_drawn_while_another_case_arrives_is_kept_with_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.desk.go_to(3)
    other = Sweep("case_b", a_sweep(12).stack, a_sweep(12).padding, a_sweep(12).free)
    under_way(bench, monkeypatch, "FetalIQALib.desk.open_case", Opened(other, None, {}))
    monkeypatch.setattr(bench.desk, "assess", lambda: True)
    assert bench.desk.open("case_b")
    bench.edit(ellipse_mask())
    answered(bench)
    assert (bench.work.sweep.case, bench.work.masks()) == ("case_b", {})
    kept = read_journal(bench.place.journals.path("case_a", "final"), 30)
    assert np.array_equal(kept.frames[3].mask.full(), ellipse_mask())


def test_a_stroke_drawn_while_another_raters_label_arrives_is_compared_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.desk.go_to(3)
    theirs = {3: Frame(ANNOTATED, Mask.of(ellipse_mask()), rater="ben")}
    under_way(bench, monkeypatch, "FetalIQALib.reviewing.load_label", (Saved(1), theirs))
    assert bench.place.reviewing.compare("ben")
    bench.edit(ellipse_mask())
    answered(bench)
    assert np.array_equal(bench.work.masks()[3].full(), ellipse_mask())
    assert bench.place.reviewing.agreement.both == 1

"""The scene on real MRML (slicer-core): display, strokes, and scrolling without side effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
pytest.importorskip("vtk", reason="vtk cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

import vtk  # noqa: E402
from FetalIQALib import display_colours  # noqa: E402
from FetalIQALib.case_annotation import CaseAnnotation  # noqa: E402
from FetalIQALib.case_loading import LoadedCase  # noqa: E402
from FetalIQALib.ellipse_measurement import Ellipse  # noqa: E402
from FetalIQALib.ellipse_tool import ellipse_of_axes  # noqa: E402
from FetalIQALib.frame_annotations import ANNOTATED, FrameAnnotation  # noqa: E402
from FetalIQALib.frame_masks import Mask  # noqa: E402
from FetalIQALib.image_sequence import OWNER, PRESETS  # noqa: E402
from FetalIQALib.journal import Journals, read_journal  # noqa: E402
from FetalIQALib.mask_overlay import ABDOMEN, ELLIPSE, LABELMAP, OTHER, PROPOSAL  # noqa: E402
from FetalIQALib.server_responses import LabelVersion  # noqa: E402
from FetalIQALib.sweep_data import Sweep  # noqa: E402
from FetalIQALib.sweep_scene import SweepScene  # noqa: E402
from FetalIQALib.workspace import Workspace  # noqa: E402
from slice_view import Mrml, SliceView  # noqa: E402
from vtk.util import numpy_support  # noqa: E402
from workspaces import SHAPE, a_sweep, ellipse_mask  # noqa: E402


class Bench:
    """A workspace with an open case and a scene, no server."""

    def __init__(self, folder: Path, sweep: Sweep) -> None:
        self.mrml = Mrml()
        self.workspace = Workspace(folder)
        self.workspace.journals = Journals(folder, "http://none")
        self.scene = SweepScene(self.mrml.scene, self.mrml.sequences, self.workspace.controller)
        self.controller = self.workspace.controller
        self.put(sweep)

    def put(self, sweep: Sweep) -> None:
        self.controller.annotation = CaseAnnotation(sweep, "anna")
        self.controller.position = 0
        self.workspace.session.notify("case")

    @property
    def annotation(self) -> CaseAnnotation:
        return self.controller.annotation

    def labelmap(self, segment: str) -> np.ndarray:
        node = self.scene.overlay.human if segment == ABDOMEN else self.scene.overlay.reference
        frame = np.zeros(self.annotation.sweep.shape, np.uint8)
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
        self.scene.sync_from_scene()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, a_sweep())


def test_every_frame_is_shown_with_its_pixels_and_spacing(bench: Bench) -> None:
    for frame in (0, 29, 7, 15):
        bench.controller.go_to(frame)
        volume = bench.scene.frames.volume
        assert np.array_equal(slicer.util.arrayFromVolume(volume)[0], bench.annotation.sweep.stack.frames[frame])
        assert volume.GetSpacing()[:2] == pytest.approx((0.28, 0.31))
        assert bench.scene.frames.browser.GetSelectedItemNumber() == frame
    assert bench.scene.frames.sequence.GetNumberOfDataNodes() == 30


def test_scrolling_through_all_frames_leaves_record_and_masks_untouched(tmp_path: Path) -> None:
    """A segmentation sequence in its default mode would have copied the mask to 140 frames."""
    bench = Bench(tmp_path, a_sweep(140, range(40, 90)))
    bench.controller.go_to(50)
    bench.controller.apply("accept", lambda annotation: annotation.accept(50))
    before, masks, revision = bench.annotation.record(), bench.annotation.masks(), bench.annotation.revision
    for frame in [*range(140), *range(139, -1, -1)]:
        bench.controller.go_to(frame)
        bench.scene.sync_from_scene()
    for frame in range(140):  # and through the browser's own tool bar
        bench.scene.frames.browser.SetSelectedItemNumber(frame)
        bench.scene.sync_from_scene()
        assert bench.controller.position == frame
        assert bench.labelmap(ABDOMEN).any() == (frame == 50)
    assert (bench.annotation.record(), bench.annotation.masks(), bench.annotation.revision) == (
        before,
        masks,
        revision,
    )
    assert bench.mrml.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2
    sequences = bench.mrml.scene.GetNodesByClass("vtkMRMLSequenceNode")
    assert [sequences.GetItemAsObject(i).GetDataNodeClassName() for i in range(sequences.GetNumberOfItems())] == [
        "vtkMRMLScalarVolumeNode"
    ]


def test_segmentation_sequences_copy_masks_by_default(bench: Bench) -> None:
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
    bench.controller.go_to(15)
    bench.edit(ellipse_mask())
    bench.controller.go_to(16)  # before the timer: the stroke still belongs to 15
    assert bench.annotation.frame(15).state == ANNOTATED
    assert np.array_equal(bench.annotation.masks()[15].full(), ellipse_mask())
    assert 16 not in bench.annotation.frames
    assert not bench.labelmap(ABDOMEN).any()
    bench.stroke(ellipse_mask(30))
    bench.controller.apply("undo", lambda annotation: annotation.undo() and None)
    assert sorted(bench.annotation.masks()) == [15]
    assert not bench.labelmap(ABDOMEN).any()
    bench.controller.apply("undo", lambda annotation: annotation.undo() and None)
    assert bench.annotation.masks() == {}


def test_a_stroke_is_saved_on_disk_at_once(bench: Bench) -> None:
    bench.controller.go_to(15)
    bench.stroke(ellipse_mask())
    assert '"15"' in bench.workspace.journals.path("case_a", "final").read_text()


def test_erasing_and_small_edits_at_the_rim_are_exact(bench: Bench) -> None:
    bench.controller.go_to(3)
    rim = np.zeros(SHAPE, np.uint8)
    rim[0, 0] = rim[-1, -1] = rim[0, -1] = 1
    bench.stroke(rim)
    assert np.array_equal(bench.annotation.masks()[3].full(), rim)
    rim[0, 0] = 0
    bench.stroke(rim)
    assert np.array_equal(bench.annotation.masks()[3].full(), rim)
    bench.stroke(np.zeros(SHAPE, np.uint8))
    assert bench.annotation.frames == {}


def test_the_overlay_shows_labels_and_proposals(bench: Bench) -> None:
    bench.controller.go_to(15)
    proposed = bench.annotation.sweep.assessment.proposals[15].mask.full()
    assert np.array_equal(bench.labelmap(PROPOSAL), proposed)
    assert not bench.labelmap(ABDOMEN).any()
    measured = bench.labelmap(ELLIPSE)
    assert np.count_nonzero(measured & proposed) / np.count_nonzero(measured | proposed) > 0.95
    theirs = {15: bench.annotation.sweep.assessment.proposals[12].mask}
    bench.scene.other_rater_mask = theirs.get
    bench.controller.apply("accept", lambda annotation: annotation.accept(15))
    assert np.array_equal(bench.labelmap(ABDOMEN), proposed)
    assert bench.labelmap(OTHER).any()
    bench.controller.go_to(2)
    assert not any(bench.labelmap(segment).any() for segment in (ABDOMEN, PROPOSAL, ELLIPSE, OTHER))


def test_the_ellipse_tool_makes_one_action_of_four_clicks(bench: Bench) -> None:
    bench.controller.go_to(4)
    assert bench.scene.start_ellipse()
    matrix = vtk.vtkMatrix4x4()
    bench.scene.frames.volume.GetIJKToRASMatrix(matrix)
    ellipse = Ellipse(40, 30, 20, 12, 0.5)
    for along, across in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        x = ellipse.x + along * ellipse.a * np.cos(0.5) - across * ellipse.b * np.sin(0.5)
        y = ellipse.y + along * ellipse.a * np.sin(0.5) + across * ellipse.b * np.cos(0.5)
        bench.scene.tool.node.AddControlPointWorld(matrix.MultiplyPoint((x, y, 0, 1))[:3])
    assert bench.annotation.masks() == {}
    bench.scene.sync_from_scene()
    assert np.array_equal(bench.annotation.masks()[4].full(), ellipse.draw(SHAPE))
    assert not bench.scene.tool.active
    bench.controller.apply("undo", lambda annotation: annotation.undo() and None)
    assert bench.annotation.masks() == {}


def points_placed(bench: Bench, count: int) -> None:
    """Click the ends of the axes of an ellipse around (40, 30), the first ``count`` of them."""
    matrix = vtk.vtkMatrix4x4()
    bench.scene.frames.volume.GetIJKToRASMatrix(matrix)
    for x, y in [(20, 30), (60, 30), (40, 20), (40, 40)][:count]:
        bench.scene.tool.node.AddControlPointWorld(matrix.MultiplyPoint((x, y, 0, 1))[:3])


def test_an_ellipse_is_canceled_by_another_frame(bench: Bench) -> None:
    bench.controller.go_to(4)
    bench.scene.start_ellipse()
    points_placed(bench, 3)
    bench.controller.go_to(5)
    assert not bench.scene.tool.active
    bench.scene.start_ellipse()
    points_placed(bench, 1)  # with the three of before it would be complete
    bench.scene.sync_from_scene()
    assert bench.scene.tool.active
    assert bench.annotation.masks() == {}
    bench.scene.frames.browser.SetSelectedItemNumber(7)  # the browser's own tool bar
    bench.scene.sync_from_scene()
    assert (bench.controller.position, bench.scene.tool.active) == (7, False)


def test_an_ellipse_is_canceled_by_leaving_place_mode(bench: Bench) -> None:
    interaction = bench.mrml.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    bench.controller.go_to(4)
    bench.scene.start_ellipse()
    points_placed(bench, 2)
    bench.scene.sync_from_scene()
    assert bench.scene.tool.active
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)  # Esc in Slicer
    bench.scene.sync_from_scene()
    assert not bench.scene.tool.active
    assert bench.mrml.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0
    assert bench.annotation.masks() == {}


def test_a_segment_that_was_added_is_merged_into_the_mask(bench: Bench) -> None:
    """The Segment Editor's *Add* makes a second segment; what is drawn in it must not be lost."""
    bench.controller.go_to(15)
    bench.stroke(ellipse_mask())
    merged: list[bool] = []
    bench.scene.merged = lambda: merged.append(True)
    human, elsewhere = bench.scene.overlay.human, np.zeros(SHAPE, np.uint8)
    elsewhere[:4, :6] = 1
    second = human.GetSegmentation().AddEmptySegment("Segment_2", "Segment_2")
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(bench.scene.overlay._image(elsewhere))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, human, second, logic.MODE_REPLACE)
    bench.scene.sync_from_scene()
    assert np.array_equal(bench.annotation.masks()[15].full(), ellipse_mask() | elsewhere)
    assert human.GetSegmentation().GetNumberOfSegments() == 1
    assert merged == [True]
    assert bench.workspace.session.status.kind == "problem"
    assert "Segment_2" in bench.workspace.session.status.text
    bench.scene.sync_from_scene()
    bench.controller.go_to(16)
    assert not bench.labelmap(ABDOMEN).any()
    assert sorted(bench.annotation.masks()) == [15]


def test_axes_placed_off_the_middle_and_the_shorter_first() -> None:
    ellipse = ellipse_of_axes([(30, 10), (30, 30), (10, 24), (60, 24)])
    assert (ellipse.x, ellipse.y, ellipse.a, ellipse.b) == pytest.approx((35, 20, 25, 10))
    assert np.degrees(ellipse.angle) == pytest.approx(0, abs=1e-6)
    ellipse = ellipse_of_axes([(0, 20), (60, 20), (40, 5), (40, 45)])
    assert (ellipse.x, ellipse.y, ellipse.a, ellipse.b) == pytest.approx((30, 25, 30, 20))
    assert ellipse_of_axes([(5, 5), (5.5, 5), (1, 1), (9, 9)]) is None
    assert ellipse_of_axes([(5, 5), (25, 5), (10, 5), (20, 5)]) is None


def test_other_nodes_are_never_changed(bench: Bench) -> None:
    theirs = bench.mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "theirs")
    bench.put(a_sweep(12))
    bench.scene.clear()
    assert theirs.GetScene() is bench.mrml.scene
    nodes = bench.mrml.scene.GetNodes()
    owned = [nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems())]
    assert [node.GetName() for node in owned if node.GetAttribute(OWNER)] == []


@pytest.mark.parametrize("which", ["human", "reference", "volume", "browser", "sequence", "segment"])
def test_deleted_nodes_are_restored_with_all_labels(bench: Bench, which: str) -> None:
    bench.controller.go_to(15)
    bench.controller.apply("accept", lambda annotation: annotation.accept(15))
    record = bench.annotation.record()
    if which == "segment":
        bench.scene.overlay.human.GetSegmentation().RemoveSegment(ABDOMEN)
    else:
        owner = bench.scene.overlay if which in ("human", "reference") else bench.scene.frames
        bench.mrml.scene.RemoveNode(getattr(owner, which))
    bench.controller.apply(
        "empty", lambda annotation: annotation.mark_empty(2)
    )  # keys work while the nodes are missing
    bench.scene.sync_from_scene()
    assert bench.annotation.record()["frames"]["15"] == record["frames"]["15"]
    assert bench.annotation.frame(2).state == "empty"
    assert bench.labelmap(ABDOMEN).any()
    assert np.array_equal(
        slicer.util.arrayFromVolume(bench.scene.frames.volume)[0], bench.annotation.sweep.stack.frames[15]
    )
    bench.stroke(ellipse_mask())
    assert np.array_equal(bench.annotation.masks()[15].full(), ellipse_mask())


def test_closing_the_scene_saves_the_work(bench: Bench) -> None:
    bench.controller.go_to(15)
    bench.edit(ellipse_mask())
    bench.scene.scene_closing()
    bench.mrml.scene.Clear(0)
    bench.scene.sync_from_scene()
    assert bench.controller.annotation is None
    assert "case_a" in bench.workspace.session.status.text
    assert '"15"' in bench.workspace.journals.path("case_a", "final").read_text()


def test_window_presets_and_hidden_proposals(bench: Bench) -> None:
    display = bench.scene.frames.volume.GetDisplayNode()
    for number, (_name, window, level) in enumerate(PRESETS):
        bench.scene.frames.window(number)
        assert (display.GetWindow(), display.GetLevel()) == (window, level)
    bench.scene.show_proposals(False)
    assert not bench.scene.overlay.reference.GetDisplayNode().GetVisibility()
    assert bench.scene.overlay.human.GetDisplayNode().GetVisibility()
    bench.put(a_sweep(12))
    assert bench.scene.frames.volume.GetDisplayNode().GetWindow() == PRESETS[-1][1]
    assert not bench.scene.overlay.reference.GetDisplayNode().GetVisibility()


def test_the_plot_has_the_frames_and_follows(bench: Bench) -> None:
    plots = bench.scene.plots
    assert plots.table.GetNumberOfRows() == 30
    bench.controller.go_to(11)
    assert plots._position.GetTable().GetColumn(0).GetValue(0) == 11
    assert plots.frame_of(11) == 11
    assert plots.frame_of(99) is None


def test_the_real_slice_view_draws_both_masks_in_their_colours(bench: Bench) -> None:
    view = SliceView(bench.mrml, (480, 360))
    bench.controller.go_to(15)
    view.show(bench.scene.frames.volume)
    human = np.zeros(SHAPE, np.uint8)
    human[5:15, 5:20] = 1  # upper left, away from the proposal
    bench.stroke(human)
    picture = view.picture().astype(int)
    for colour, (x, y) in ((display_colours.HUMAN, (0.15, 0.15)), (display_colours.PROPOSAL, (0.55, 0.5))):
        rows, columns = np.nonzero(abs(picture - colour).sum(axis=2) < 60)
        assert len(rows) > 40
        # not mirrored
        assert abs(columns.mean() / 480 - x) < 0.1
        assert abs(rows.mean() / 360 - y) < 0.1


def under_way(bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str, answer: object) -> None:
    """Replace the next response of the server."""
    bench.workspace.session.client = object()
    monkeypatch.setattr(where, lambda *_values: answer)


def answered(bench: Bench) -> None:
    """Deliver the response before the timer stores pending strokes."""
    while bench.workspace.runner.busy():
        bench.workspace.runner.pump()


@pytest.mark.parametrize("position", [0, 4])
def test_a_stroke_drawn_while_the_assessment_arrives_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    """At frame 0 the best frame is shown after the assessment."""
    bench = Bench(tmp_path, a_sweep(assessed=False))
    bench.controller.go_to(position)
    under_way(bench, monkeypatch, "FetalIQALib.case_controller.assess_case", a_sweep().assessment)
    assert bench.controller.assess()
    bench.edit(ellipse_mask())
    answered(bench)
    assert bench.annotation.sweep.assessment is not None
    assert np.array_equal(bench.annotation.masks()[position].full(), ellipse_mask())
    assert sorted(bench.annotation.masks()) == [position]


def test_a_stroke_drawn_during_a_submission_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.controller.go_to(15)
    bench.controller.apply("accept", lambda annotation: annotation.accept(15))
    under_way(bench, monkeypatch, "FetalIQALib.label_submission.Submission.send", 1)
    monkeypatch.setattr(bench.workspace.worklist, "refresh", lambda **_values: None)
    assert bench.controller.submit()
    bench.edit(ellipse_mask())
    answered(bench)
    assert np.array_equal(bench.annotation.masks()[15].full(), ellipse_mask())
    assert np.array_equal(bench.labelmap(ABDOMEN), ellipse_mask())
    assert (bench.annotation.based_on, bench.annotation.unsaved) == (
        1,
        True,
    )  # version 1 is the mask without the stroke


def test_a_stroke_drawn_while_another_case_arrives_is_kept_with_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.controller.go_to(3)
    other = Sweep("case_b", a_sweep(12).stack, a_sweep(12).padding, a_sweep(12).measurable)
    under_way(bench, monkeypatch, "FetalIQALib.case_controller.open_case", LoadedCase(other, None, {}))
    monkeypatch.setattr(bench.controller, "assess", lambda: True)
    assert bench.controller.open("case_b")
    bench.edit(ellipse_mask())
    answered(bench)
    assert (bench.annotation.sweep.case, bench.annotation.masks()) == ("case_b", {})
    saved = read_journal(bench.workspace.journals.path("case_a", "final"), 30)
    assert np.array_equal(saved.frames[3].mask.full(), ellipse_mask())


def test_a_stroke_drawn_while_another_raters_label_arrives_is_compared_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.controller.go_to(3)
    theirs = {3: FrameAnnotation(ANNOTATED, Mask.of(ellipse_mask()), rater="ben")}
    under_way(bench, monkeypatch, "FetalIQALib.label_review.load_label", (LabelVersion(1), theirs))
    assert bench.workspace.review.compare("ben")
    bench.edit(ellipse_mask())
    answered(bench)
    assert np.array_equal(bench.annotation.masks()[3].full(), ellipse_mask())
    assert bench.workspace.review.agreement.both == 1

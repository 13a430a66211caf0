"""Draws the pictures of docs/slicer.md (panel, quality strip, overlay, clicks) without Slicer.

    python benchmarks/slicer_pictures.py [OUT]        # without OUT: docs/images/slicer, and the module's icons

A real server with the shipped abdomen model assesses a synthetic sample case, and answers clicks with the shipped
interactive model. The panel is the module's own, in Qt with stand-ins for Slicer's widgets
(tests/slicer/stand_ins.py), as high as Slicer leaves it at 1366 x 768, in the light and the dark theme. Overlay,
clicks and their marks are those of Slicer's slice view (slicer-core).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(REPOSITORY / "slicer_module" / "FetalIQA"),
    str(REPOSITORY / "tests" / "slicer"),
    str(REPOSITORY / "tests" / "app"),
]

from app_harness import free_port, start, stop  # noqa: E402
from FetalIQALib import display_colours  # noqa: E402
from FetalIQALib.ellipse_measurement import Ellipse  # noqa: E402
from FetalIQALib.png_export import png  # noqa: E402
from FetalIQALib.quality_strip import StripView, draw_strip  # noqa: E402
from slice_view import Mrml, SliceView  # noqa: E402
from stand_ins import FakeSlicer, theme  # noqa: E402
from workspaces import settle, wait_for  # noqa: E402

PANEL = (430, 640)  # width, and height that Slicer's own bars leave of 768
CASE = "5cb3b4e9-bd03-43ef-851b-aa207eec56ca"
MODULE = REPOSITORY / "slicer_module"
ICONS = (MODULE / "FetalIQA.png", MODULE / "FetalIQA" / "Resources" / "Icons" / "FetalIQA.png")
IMAGES = Path("images") / "stacked_fetal_ultrasound"
CROP = (slice(70, 380), slice(110, 500))  # of the slice view: the abdomen


def main() -> None:
    """Draw all of them."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "images" / "slicer"
    out.mkdir(parents=True, exist_ok=True)
    for path in ICONS if len(sys.argv) == 1 else (out / "icon.png",):
        path.write_bytes(png(icon()))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        shutil.copytree(REPOSITORY / "sample-data" / IMAGES, root / "studies" / IMAGES)
        port = free_port()
        command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
        server = start(
            root, [*command, "--conf", "device", "cpu", "--conf", "cache_dir", str(root / "cache")], port
        )
        try:
            draw(server.url, root, out)
        finally:
            stop(server)


def draw(url: str, root: Path, out: Path) -> None:
    """Work on the case as an annotator does, and take pictures."""
    mrml = Mrml()
    fake = FakeSlicer(mrml, root)
    import FetalIQA

    module = FetalIQA.FetalIQAWidget(fake.holder)
    module.setup()
    fake.window.resize(*PANEL)
    fake.window.show()
    module.enter()
    workspace, ui = module.logic.workspace, module.ui
    ui.addressEdit.setText(url)
    ui.raterEdit.setText("anna")
    module.panel.connect_server()
    settle(workspace)
    save_themes(module, fake, out / "panel-cases.png")

    workspace.controller.open(CASE)
    wait_for(
        workspace,
        lambda: (
            workspace.controller.annotation is not None
            and workspace.controller.annotation.sweep.assessment is not None
        ),
    )
    settle(workspace)
    annotation, run = workspace.controller.annotation, module.panel.actions.run
    best = annotation.sweep.assessment.best
    run("accept")
    run("optimal")
    workspace.controller.go_to(best + 1)
    ellipse = annotation.sweep.assessment.measured[best + 1].ellipse
    moved = Ellipse(ellipse.x + 6, ellipse.y - 4, ellipse.a * 0.94, ellipse.b * 1.02, ellipse.angle)
    bulge = Ellipse(ellipse.x - 0.6 * ellipse.a, ellipse.y, ellipse.b * 0.55, ellipse.b * 0.5, 0.0)
    workspace.controller.draw_mask(
        best + 1, moved.draw(annotation.sweep.shape) | bulge.draw(annotation.sweep.shape), "draw"
    )
    for frame in (4, 5, 6, 20, 30):
        workspace.controller.go_to(frame)
        run("empty")
    annotation.comment_frame(best, "stomach and vein")
    workspace.controller.go_to(best + 1)
    module.panel.tick()
    save_themes(module, fake, out / "panel-frames.png")
    view = StripView(zoomed=True)
    strip = draw_strip(annotation, workspace.controller.position, 400, view, loop=(best - 6, best + 6))
    (out / "strip.png").write_bytes(png(doubled(strip)))

    view = SliceView(mrml, (744, 562), "Picture")
    view.show(module.logic.scene.frames.volume)
    (out / "overlay.png").write_bytes(png(view.picture()))
    draw_clicks(module, mrml, fake, best + 2, out)
    run("closeCase")
    ui.casesSection.setProperty("collapsed", True)
    ui.helpSection.setProperty("collapsed", False)
    fake.process()
    fake.scroll.ensureWidgetVisible(ui.resetKeysButton)
    save_themes(module, fake, out / "panel-keys.png")
    ui.helpSection.setProperty("collapsed", True)
    module.sending.ui.sendSection.setProperty("collapsed", False)
    fake.process()
    fake.scroll.ensureWidgetVisible(module.sending.ui.saveSequenceButton)
    save_themes(module, fake, out / "panel-send.png")
    module.cleanup()
    print(f"pictures in {out}")


def draw_clicks(module: Any, mrml: Mrml, fake: FakeSlicer, frame: int, out: Path) -> None:
    """A mask that is wrong on both sides, and the interactive model's answer to a click and a Shift+click."""
    workspace = module.logic.workspace
    annotation = workspace.controller.annotation
    workspace.controller.go_to(frame)
    ellipse = annotation.sweep.assessment.measured[frame].ellipse
    moved = Ellipse(ellipse.x + 0.4 * ellipse.a, ellipse.y, ellipse.a * 0.9, ellipse.b * 0.9, ellipse.angle)
    workspace.controller.draw_mask(frame, moved.draw(annotation.sweep.shape), "draw")
    module.panel.actions.run("proposals")  # hidden
    view = SliceView(mrml, (744, 562), "Clicks")
    view.show_markups(mrml)
    view.show(module.logic.scene.frames.volume)
    before = view.picture()
    module.panel.actions.run("click")
    for column, row, shift in (
        (ellipse.x - 0.7 * ellipse.a, ellipse.y, False),
        (ellipse.x + 1.15 * ellipse.a, ellipse.y, True),
    ):
        click(module, column, row, shift)
        settle(workspace)
    module.panel.tick()
    after = view.picture()
    (out / "clicks.png").write_bytes(png(np.concatenate([before[CROP], after[CROP]], axis=1)))
    save_themes(module, fake, out / "panel-clicks.png")
    module.panel.actions.run("click")
    module.panel.actions.run("proposals")


def click(module: Any, column: float, row: float, shift: bool) -> None:
    """Click on a pixel of the frame in the Red view."""
    red = slicer.app.layoutManager().sliceWidget("Red")
    to_world, to_view = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    module.logic.scene.frames.volume.GetIJKToRASMatrix(to_world)
    vtk.vtkMatrix4x4.Invert(red.mrmlSliceNode().GetXYToRAS(), to_view)
    x, y, _z, _one = to_view.MultiplyPoint(to_world.MultiplyPoint((column, row, 0, 1)))
    red.interactor().SetEventInformation(round(x), round(y), 0, int(shift))
    for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent"):
        red.interactor().InvokeEvent(event)


def icon(size: int = 128, finer: int = 4) -> np.ndarray:
    """The module's icon: a sector with an outlined abdomen, drawn finer and averaged; uint8 [size, size, 3]."""
    rows, columns = np.mgrid[: size * finer, : size * finer] / (size * finer)
    x, y = columns - 0.5, rows - 0.02
    reach, turn = np.hypot(x, y), np.abs(np.arctan2(x, y))
    picture = np.full((*rows.shape, 3), display_colours.BACKGROUND, float)
    picture[(reach > 0.16) & (reach < 0.94) & (turn < 0.72)] = (78, 92, 108)
    inside = np.hypot((x + 0.02) / 0.25, (rows - 0.58) / 0.2)
    picture[inside < 1] = display_colours.HUMAN
    picture[inside < 0.82] = (112, 104, 84)
    blocks = picture.reshape(size, finer, size, finer, 3)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def save_themes(module: Any, fake: FakeSlicer, path: Path) -> None:
    """Take a picture of the window in the light and, as ``NAME-dark``, in the dark theme."""
    for name, suffix in (("dark", "-dark"), ("light", "")):
        fake.application.setPalette(theme(name))
        session = module.logic.workspace.session
        session.notify("status")  # colours follow the palette
        session.notify("position")
        fake.process()
        fake.window.grab().save(str(path.with_name(f"{path.stem}{suffix}.png")))


def doubled(picture: np.ndarray) -> np.ndarray:
    """Every pixel four times, so that a strip of 400 columns is shown at full resolution."""
    return picture.repeat(2, axis=0).repeat(2, axis=1)


if __name__ == "__main__":
    main()

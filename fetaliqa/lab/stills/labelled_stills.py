"""Still images with a reference outline as labelled cases of one frame."""

from __future__ import annotations

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.errors import OptionError
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.measure import draw_ellipse


def labelled_still(still: Still, *, calipers: bool = False) -> LabelledCase:
    """A still image as a case of one frame.

    Args:
        still: with an outline, an expert's mask, or calipers.
        calipers: whether the ellipse through an expert's calipers is the reference, and not the outline.

    Raises:
        OptionError: when it has no such reference.
    """
    ellipse = still.caliper_ellipse if calipers else still.ellipse
    if ellipse is not None:
        mask = draw_ellipse(ellipse, still.shape)
    elif still.mask_file is not None and not calipers:
        mask = (read_grey(still.mask_file) > 0).astype(np.uint8)
    else:
        raise OptionError(f"{still.name}: no {'calipers' if calipers else 'outline'} of this image")
    return LabelledCase(
        case_id=still.name,
        subject_id=still.patient,
        frames=read_grey(still.file)[None],
        masks=mask[None],
        known=np.ones(1, bool),
        spacing=None if still.pixel_mm is None else (still.pixel_mm, still.pixel_mm),
        ranges=((0, 1),),
        circumferences_mm=(still.circumference_mm,),
    )

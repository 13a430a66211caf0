"""Pictures for people: frames with outlines, and one contact sheet per case."""

from fetaliqa.report.contact_sheet import contact_sheet
from fetaliqa.report.picture import frame_picture

__all__ = ["contact_sheet", "frame_picture"]

"""Labels that people made: frame records, label versions, studies folders, agreement of raters."""

from fetaliqa.labels.frame_record import FrameLabel, FrameRecord, parse_record
from fetaliqa.labels.label_store import LabelStore
from fetaliqa.labels.label_version import LabelVersion

__all__ = ["FrameLabel", "FrameRecord", "LabelStore", "LabelVersion", "parse_record"]

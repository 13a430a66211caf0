"""What annotators said about which frame: records, their versions on disk, and how far raters agree."""

from fetaliqa.labels.record import FrameLabel, FrameRecord, parse_record
from fetaliqa.labels.store import LabelStore
from fetaliqa.labels.version import LabelVersion

__all__ = ["FrameLabel", "FrameRecord", "LabelStore", "LabelVersion", "parse_record"]

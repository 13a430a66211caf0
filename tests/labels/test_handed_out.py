"""What was given out is remembered; what is not known for sure is not compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fetaliqa.labels import FrameLabel, FrameRecord
from fetaliqa.labels.changed_frames import compared_record
from fetaliqa.labels.served_masks import MAX_PROPOSALS, Ledger, Proposal, frame_digests

IMAGE = (1, 2, 3)


def masks(**frames: int) -> np.ndarray:
    """Eight frames; those named have a square of this side."""
    stack = np.zeros((8, 20, 20), np.uint8)
    for name, side in frames.items():
        stack[int(name[1:]), :side, :side] = 1
    return stack


def digests(**frames: int) -> dict[int, str]:
    return frame_digests(masks(**frames))


def test_proposals_are_kept_once_with_their_clients(tmp_path: Path) -> None:
    first = Proposal(digests(f1=5), "demo", "1", ("anna",))
    Ledger(tmp_path).image_received("case", IMAGE, first)
    ledger = Ledger(tmp_path)  # as after a restart
    ledger.image_received("case", IMAGE, Proposal(digests(f1=5), "demo", "1", ("ben",)))
    ledger.image_received("case", IMAGE, Proposal(digests(f1=6), "demo", "2", ("ben",)))
    ledger.label_received("case", IMAGE, "final", 3)
    ledger.label_received("case", IMAGE, "final", 3)
    served = ledger.of_image("case", IMAGE)
    assert [one.clients for one in served.proposals] == [("anna", "ben"), ("ben",)]
    assert (served.labels, served.complete) == ((("final", 3),), True)
    assert [one.model_version for one in served.to("anna")] == ["1"]
    assert len(served.to("ben")) == 2
    assert served.to("somebody new") == served.to(None) == []  # what they have is from elsewhere
    ledger.image_received("case", IMAGE, Proposal(digests(f1=7)))
    ledger.image_received("case", IMAGE, Proposal(digests(f1=7), clients=("",)))
    served = ledger.of_image("case", IMAGE)
    assert (len(served.to("anna")), len(served.to(None))) == (2, 3)
    assert ledger.of_image("case", (1, 2, 4)).proposals == ()  # the file was replaced
    ledger.pixels_received("abc", first)
    assert Ledger(tmp_path).of_pixels("abc").proposals == (first,)


def test_what_may_be_incomplete_says_so(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in range(MAX_PROPOSALS + 1):
        ledger.image_received("many", IMAGE, Proposal({0: str(number)}))
    assert not ledger.of_image("many", IMAGE).complete
    (tmp_path / "full").write_text("no folder can be made of this name")
    with pytest.raises(OSError, match="full"):
        ledger.image_received("full", IMAGE, Proposal({}))
    assert not ledger.of_image("full", IMAGE).complete
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / ".handed-out.json").write_text('{"identity": [1')
    assert ledger.of_image("torn", IMAGE).proposals == ()


def test_a_frame_is_a_persons_only_where_it_differs_from_all_that_was_given() -> None:
    drawn = digests(f0=5, f1=7, f2=5, f6=9)
    record = compared_record(drawn, 8, [Proposal(digests(f0=5, f1=5, f2=4, f3=5), "demo", "1")], "anna")
    assert {frame: one.state for frame, one in record.frames.items()} == {
        0: "proposed",
        1: "annotated",
        2: "annotated",
        3: "empty",
        6: "annotated",
    }
    assert (record.frames[1].rater, record.frames[0].rater, record.frames[1].model) == ("anna", None, "demo")
    two = [Proposal(digests(f0=5, f1=5, f2=4, f3=5)), Proposal(digests(f0=5, f1=7))]
    assert compared_record(drawn, 8, two, "anna").known() == [2, 6]
    unknown = compared_record(drawn, 8, [], "anna")
    assert {one.state for one in unknown.frames.values()} == {"proposed"}


def test_what_did_not_change_since_the_version_before_keeps_its_state() -> None:
    frame_record = FrameRecord({0: FrameLabel("annotated", rater="anna"), 1: FrameLabel("empty", rater="anna")})
    before = (digests(f0=5, f2=6), frame_record)
    record = compared_record(digests(f0=5, f2=6, f3=4), 8, [Proposal(digests(f1=5))], "ben", before)
    assert {frame: (one.state, one.rater) for frame, one in record.frames.items()} == {
        0: ("annotated", "anna"),
        1: ("empty", "anna"),
        2: ("proposed", None),
        3: ("annotated", "ben"),
    }

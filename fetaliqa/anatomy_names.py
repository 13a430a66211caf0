"""Which class names of other programs mean an anatomy."""

from __future__ import annotations

import re

from fetaliqa.anatomy import Anatomy

NAMES = {
    "abdomen": ("abdomen", "abdominal", "abdominal circumference", "ac"),
    "head": ("head", "head circumference", "hc"),
}
QUALIFIERS = frozenset(
    ("fetal", "foetal", "fetus", "foetus", "optimal", "suboptimal", "plane", "mask", "label", "segment", "outline")
)


def matches(name: str, anatomy: Anatomy) -> bool:
    """Whether a class of this name is the anatomy, as in ``Fetal abdomen`` or ``AC_optimal``."""
    words = [word for word in re.split(r"[\W_\d]+", name.lower()) if word and word not in QUALIFIERS]
    return " ".join(words) in NAMES.get(anatomy.name, (anatomy.name,))

"""Students: small models that screen the frames of a sweep for a large one when only the best frame is wanted."""

AUTO, NONE = "auto", "none"  # in place of a student's folder: the bundle's own, or no student

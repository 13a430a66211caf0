"""Students: small models that screen the frames of a sweep for a large one when only the best frame is wanted."""

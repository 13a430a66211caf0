"""Labelled data sets behind one interface: ACOUSLIC-AI and HC18; splits, download, verification."""

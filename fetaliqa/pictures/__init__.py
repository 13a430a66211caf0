"""Pictures of frames with outlines, contact sheets, quality curves, HTML reports."""

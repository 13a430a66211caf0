"""Pictures for people: ``picture``, frames with outlines; ``contact_sheet``, one per case; ``evaluation_html``."""

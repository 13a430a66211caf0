"""One writer for each format; see ``fetaliqa.export.formats.format_writer``."""

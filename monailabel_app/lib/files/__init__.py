"""Files of clients and temporary files."""

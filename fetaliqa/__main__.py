"""``python -m fetaliqa`` is the command ``fetaliqa``."""

from __future__ import annotations

from fetaliqa.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())

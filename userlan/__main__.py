"""``python -m userlan``: the same as the ``userlan`` command."""

from __future__ import annotations

from userlan.cli.main import main

if __name__ == "__main__":
    main()

"""Programs that have a member of the LAN in them: read them, run them (``python -m tests.examples.web_server``), start from them.

::

    web_server   a web site that exists on the LAN alone                      python -m tests.examples.web_server --state a
    fetch        a page of a member, by its name                              python -m tests.examples.fetch --state b INVITE http://site:8000/
    beacon       members of a kind find each other by broadcasts              python -m tests.examples.beacon --state c INVITE
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where ``python -m tests.examples…`` is run."""

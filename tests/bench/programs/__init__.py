"""Programs that the bench runs as processes of their own inside the namespaces: clients, servers and crowds.

Plain blocking sockets, so that what they cost is the same for every system.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""Where ``python -m tests.…`` finds them."""

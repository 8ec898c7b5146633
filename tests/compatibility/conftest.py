"""The laboratory's fixtures serve here too."""

from tests.lab.conftest import lab

__all__ = ["lab"]

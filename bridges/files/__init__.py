"""Files from member to member."""

from bridges.files.bridge import FilesBridge, FilesOptions

__all__ = ["FilesBridge", "FilesOptions"]

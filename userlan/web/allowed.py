"""What the page may ask the node for.

Everything else is for the command line: ``down`` and ``page`` (a page that was taken over does not let others in), ``nc``, ``tap``,
``namespace`` and ``capture`` (packets, and connections of one's own), and ``files-send`` and ``folder-add``, which read any file of this
computer: the page hands its files over by an upload.
"""

from __future__ import annotations

ALLOWED = frozenset(
    {
        # the node and its peers
        "status",
        "watch",
        "connections",
        "netcheck",
        "doctor",
        "ping",
        "services",
        "proxy",
        "nick",
        # networks and their members
        "create",
        "join",
        "leave",
        "invite",
        "invite-qr",
        "evict",
        "lock",
        "unlock",
        "approve",
        "deny",
        "applicants",
        "password",
        "block",
        "unblock",
        "blocked",
        # what is reachable
        "expose",
        "unexpose",
        "folder-list",
        "folder-remove",
        "forward",
        "unforward",
        "forwards",
        "share",
        "unshare",
        "shares",
        # chat
        "chat-send",
        "chat-conversations",
        "chat-history",
        "chat-read",
        "chat-mute",
        "chat-clear",
        "chat-search",
        "chat-watch",
        # files
        "files-list",
        "files-accept",
        "files-decline",
        "files-cancel",
        "files-forget",
        "files-watch",
        "files-open",
        # how peers are reached, and what runs here
        "local-services",
        "path",
        "advice",
        # guests
        "guest-add",
        "guest-list",
        "guest-remove",
        "guest-show",
    }
)

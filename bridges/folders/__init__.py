"""Folders that are shared: each is a small web site for the members, to look at and to fetch from, never to write to.

::

    userlan folder add ~/Pictures ──▶ Record ──▶ port 41417 of the LAN, /Pictures/          kept over restarts
                                                  ▲            │
    a member's browser ── forward ── LAN ── Channel ── reach ──┘ ── Sending ──▶ the file's octets
                                                       └─ list_folder ──▶ a page

Each is announced by multicast DNS as a service of its own, with the path under which it is found (RFC 6763 appendix: the TXT key ``path``
of ``_http._tcp``): so it is in ``userlan services`` and has its *Open* in the page. Nothing listens while nothing is shared.

Parts::

    tree      from a shared folder to what lies in it, and to nothing else
    listing   what a folder holds, as a page
    content   types, headers, parts of files (RFC 9110 14)
    server    connections, requests, answers
    bridge    what is shared, with whom; commands

What a hostile member gets
--------------------------
* Paths: each part is opened in the folder before it (openat(2)), never by the whole path, and symbolic links are not followed: whoever
  changes them at the same time leads nobody out. Names that begin with a dot, devices, pipes and sockets are not there.
* Connections: 32 of one member, 256 in all; one request at a time on each, without a body.
* Folders: 5000 entries are shown, of the first 20,000 that are read; in threads, four at a time.
* Memory: one block of 256 KB for each connection, and what the LAN's stack holds for it.

What a member who shares gets from whom it shares with: files that a browser would run (HTML, SVG) come with a policy that gives them
neither scripts nor the origin of the rest (CSP ``sandbox``), and nothing is taken for another type than it is called (``nosniff``).

A web site elsewhere, in the browser of a member, gets nothing: a name that it made lead here (DNS rebinding) is not among those that are
answered, and no other origin may embed what is fetched.
"""

from bridges.folders.bridge import FoldersBridge, FoldersOptions

__all__ = ["FoldersBridge", "FoldersOptions"]

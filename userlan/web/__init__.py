"""The local page: the window of a node, served to the browser of its own user.

Theory of operation
===================

Goals: whatever the command line can ask for, a page can (:mod:`userlan.driver.commands`: one registry); it is live; it needs nothing from
elsewhere; and nobody but the user of the node gets anything out of it, or does anything with it. HTTP/1.1 and WebSocket are Twisted's.

::

    browser ⇄ Connection ⇄ PageChannel ─▶ PageRequest.judge ─▶ Assets | PageSocket ⇄ Commands | Uploads ─▶ Commands | Scans | Metrics
              deadlines,   HTTP/1.1        Checks, Caller,
              FrameGuard                   Sessions

Who is trusted
--------------
The user of the node: whoever can connect to its socket in the state folder (0600), which hands out links. Nobody else, and in particular

* *other pages in the user's browser*: they can send requests here, and the browser adds cookies to some of them. Each request is judged by
  Fetch Metadata and Origin (``checks``); what is answered cannot be framed, embedded or read (CSP, CORP, COOP). A page on another port of
  this host is of the same *site*, and its cookies are ours: SameSite does not tell it apart, the rest does; localhost is another origin
  than 127.0.0.1. Under a name that is made to resolve to 127.0.0.1 a page would be of our origin: Host has to be a number or ``localhost``.
* *other users of this computer*, who can connect, and see the arguments of programs. Without a session there is a page that says how to
  come by one, and nothing else. Where the kernel tells whose socket it is (``caller``), a link or cookie that they have seen is no use.
* *other programs of this computer* that do not keep to the protocols, or send without end, or never: each wait and size has a limit.
* *peers*: their names, texts and files are shown by the page. It treats them as text (no markup from strings, by CSP's trusted types),
  and were one to take the page over all the same, ``allowed`` names what it could do: no file of this computer is read by it.

A request's way
---------------
1. ``Connection`` gives it ten seconds to arrive, and 16 KiB for its head. At the limit of connections, one that has shown no session goes.
2. ``PageChannel`` (Twisted's) reads the head; two lengths, or a length and a transfer coding, end the connection (request smuggling).
3. ``PageRequest.judge``, before the body: the target is a path; the method is GET or HEAD (POST for an upload or a picture); Host, Fetch
   Metadata and Origin; the session; and that there is a body only where one belongs, which has a length, and for which there is room.
   Refused, it is answered at once and the rest of it thrown away.
4. ``/`` with a token: it is used up, a session begins, its secret goes into a cookie (HttpOnly, SameSite=Strict, the port in its name), and
   303 takes the token out of the address line and the history. The node keeps hashes (``STATE/page.json``), for 30 days after the last use.
5. ``/socket`` becomes a WebSocket, with Origin always; other paths are the package's own files, found by their name in a table.

Limits
------
====================== ======================================================================================================
connections            256, of which 64 WebSockets
a message              1 MiB, 1024 frames; no compression
requests of a socket   64 that are not answered yet
unread answers         a socket that does not read is not read, and cut off at 8 MiB
tokens                 8 unused, 5 minutes; after 20 wrong ones within a minute none is looked at
sessions               32
uploads                4 at once; 256 MiB of the disk stay free
pictures               1 at once, of 4 MiB, whose QR code is looked for
====================== ======================================================================================================

No access log is kept: it would hold tokens. Anything that Twisted's WebSocket does not limit itself is limited before it (``frames``).
"""

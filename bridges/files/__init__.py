"""Files from member to member.

Theory of operation
===================

Goals: a file reaches a member as surely as a letter: whoever is offline gets it later, whatever breaks is gone on with where it broke, and
what arrives is compared with what was sent. The receiver decides: nothing is written before its user, or the configuration, has said
yes; nothing ever leaves its inbox, replaces a file, or becomes a program by itself. Members may be hostile.

It is a *pull*. The sender makes an offer, and keeps it until the receiver was seen and has answered. The receiver fetches, from as many
octets on as it has already. So to resume is nothing special: each fetch, the first one too, asks for the rest.

::

      sender                                            receiver             port 41416 of the LAN; who visits says Hello first, so does
        │  visit: Hello, Offer(token, name, size, mtime)   │                 the other one
        │─────────────────────────────────────────────────▶│
        │                    Hello, State(token, offered)  │
        │◀─────────────────────────────────────────────────│                 its user is asked
        │                                                  │  accepted
        │  visit: Hello, Fetch(token, offset)              │
        │◀─────────────────────────────────────────────────│                 offset: the length of the part
        │  Hello, Begin(token, offset, size), block, block…│
        │─────────────────────────────────────────────────▶│                 written and hashed as it comes
        │  Trailer(token, sha256 of the whole)             │
        │─────────────────────────────────────────────────▶│                 compared; synchronised; given its name
        │  visit (another): State(token, done)             │
        │◀─────────────────────────────────────────────────│
        │                                    Noted(token)  │
        │─────────────────────────────────────────────────▶│

``frames`` has the wire form, ``transfer`` the states. A receiver's news are ``State``; a sender that calls off says ``Withdraw``. Every
piece of news is kept until the other member has answered it, and each offer is made again whenever its receiver turns up anew: so both
agree in the end, whatever either of them lost.

Parts::

    frames, names, transfer, table, correspondents, effects        values
    exchange, answers          the core: sans-IO; requests, commands and time in, answers and effects out
    visited, sending, source   the side that answers, and sends
    visiting, arriving, inbox  the side that visits, and writes
    hashing, spool, threads    SHA-256 over both; uploads of the page; what blocks
    service, bridge            all of it put together; options and commands

Breaks
------
* The tunnel breaks, a computer sleeps, a node is killed: the part stays; the receiver visits again when the sender is *reached*
  (``Lan.observe_reached``), and else after 2 s, 4 s, … 300 s. Connections that are no more are found by silence (``STALL_LIMIT``), and at
  once when the other member turns up anew (``service.DOUBT``) or fetches the same file again.
* The file was changed at the sender since the offer (its inode, size or time of change): it is not sent; both say so.
* What came hashes to something else: it is fetched once more from the beginning, then given up.
* The disk is full, the folder cannot be written: paused with one line that says so, and tried again each minute; given up after 7 days
  without progress. An offer without an answer lapses after 30 days.
* Power fails: what has its name is on the disk (``fsync``, then the name). Part and file are one until it is noted that it is done.

Speed: blocks of 1 MiB are read, written and hashed in threads, some ahead of the connection; the reactor hands buffers on and copies
nothing. The connection is slowed down where the disk is (``arriving.HOLD``), and the disk is read as the connection takes
(``sending.AHEAD``).

What a hostile member gets
--------------------------
* Names: ``userlan.lan.filenames.safe_name``; texts: what can be printed of them. Sizes: more or fewer octets than offered end the fetch
  for good.
* Unasked, where it is trusted: 10 GiB and 1000 files in a day, and never more than half of what the disk has left; the rest is asked about.
* Offers: 256 in a row, then 2 a second; 256 of one member and 1024 in all wait at the most; 4096 transfers, of whom there are most go
  first. Requests: 512 in a row, then 64 a second, of a member, over however many connections.
* Connections: 8 of one member, 256 in all; hung up on after 60 s without a request, 90 s in which nothing of a file was taken.
* Tokens are 128 bits of chance and hold for one member: all others get the same answer as for none. States, withdrawals and fetches of
  what is not between the two change nothing.
* Memory: a fetch holds some 10 MB on either side at the most (``sending.AHEAD``, ``arriving.HOLD``).
"""

from bridges.files.bridge import FilesBridge, FilesOptions

__all__ = ["FilesBridge", "FilesOptions"]

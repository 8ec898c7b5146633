"""The control protocol: what nodes, the mediator and peers say to each other, typed and versioned.

Theory of operation
===================

Every control conversation is an ordinary TCP connection *on the virtual LAN*, to virtual port :data:`~userlan.control.
messages.CONTROL_PORT`.  The tunnel has already authenticated and encrypted it: the sender of a message is the key of
the tunnel from which it came, so no message carries its sender, and nothing here does cryptography but the seals of ``grants``.

::

      0               4
     +---------------+-------------------------------------------+
     | length (BE)   |  msgpack map {"t": tag, field: value, …}   |   one frame, at most MAX_FRAME bytes
     +---------------+-------------------------------------------+

Conversations::

    node                              mediator        node A                     node B
     | Hello(version, name, cands)       |              | PeerHello(evictions, …)   |
     |---------------------------------->|              |-------------------------->|
     |        Welcome(name, ipv4, …)     |              |   PeerHello(evictions, …) |
     |<----------------------------------|              |<--------------------------|
     |   NetworkState  (one a network)   |              | EvictionNotice(document)  |
     |<----------------------------------|              |-------------------------->|  (to the side that
     | Create / Join / Leave / Nick /    |                                              knew an older serial)
     | Lock / Evict / Approve / Deny     |   (each with a request number)
     |---------------------------------->|
     |   Done(request) | Refused(…)      |
     |<----------------------------------|
     |   Join only: Challenge(nonce)     |
     |<----------------------------------|
     |   Prove(signature)                |
     |---------------------------------->|
     |   where the owner approves:       |
     |   Applied, Refused(waiting)       |   … later NetworkState, or ApplicationEnded
     |<----------------------------------|   (its owner: Applicants)
     |   MemberChanged, MemberGone, NetworkGone, NetworkLocked, EvictionNotice, Introduce, Observed:
     |   pushed at any time
     |<----------------------------------|
     |   Ping / Pong, both ways; Bye before a clean end

    relay                             mediator                          node
     | Hello(kind relay)               |                                 |
     |-------------------------------->|                                 |
     |              Welcome, PoolKey   |                                 |
     |<--------------------------------|                                 |
     | Serve(endpoints, load)          | RelayPool                       |
     |-------------------------------->|-------------------------------->|
     |                                 |             RelayDelays         |
     |                                 |<--------------------------------|
     |                                 | Introduce(relays), RelayOffers  |
     |                                 |-------------------------------->|

``grants`` says what a relay's offer holds, ``mediation`` is the client's side of the first two conversations.

Every request carries a number that its sender chose (never 0) and ends in exactly one ``Done`` or ``Refused`` with
that number; what the request changed (``NetworkState``, ``MemberGone`` …) is sent before its ``Done``.

Versioning
----------
``Hello.version`` is the newest protocol that the node speaks and ``Hello.oldest`` the oldest; the mediator answers
with the one that both speak or refuses with ``protocol-version``.  Within one version, fields and messages may be
added: an unknown field is ignored, an unknown message is reported as :class:`~userlan.control.frames.Undecodable` and
the connection goes on. Where an older reader must not pass over what is asked (a network that is not to be open to all), it is a message,
which is refused, and no field.

Limits
------
Each string, byte string and collection has a greatest length in its type, a frame has one in ``Framer``; what breaks
one of the first is ``Undecodable``, what breaks the framing is a ``ControlError`` and ends the connection.
"""

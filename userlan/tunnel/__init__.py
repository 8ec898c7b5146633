"""The tunnel: WireGuard on the wire, without input, output, clock or randomness of its own.

Goals: interoperate with every WireGuard there is (white paper https://www.wireguard.com/papers/wireguard.pdf;
behaviour of the kernel module and wireguard-go where the paper is silent), meet peers through NATs, and cost as
little as possible a datagram.

    Device.send ──► Ways ── no session ──► Staged ─┐ queued once a session is there
                     │ session                     │
                     ▼                             ▼
              ┌── the flow's queue, of one of two ways (`flows.py`, `ways.py`) ──┐
              │                                                                  │
         own way: UDP, or framed TCP                              bulk way: framed TCP beside UDP
              │ cut for the path's MTU                                           │ cut for a frame (64 KB)
              └──────────────► Session.seal ► Outgoing ──► Device.datagrams ◄────┘   (bursts of up to 64 datagrams)

    Device.receive ──► index ──► Session.open_burst ► ReplayWindow ► superpacket.join ──► Inbound
                  ├──► initiation: mac1, load, cookie, then Diffie-Hellman ► response, a session in `next`
                  ├──► response: index, mac1, load ► session in `current`
                  └──► cookie reply: index ► CookieHolder

Queues. A packet is sealed when it leaves, not when it comes, so that what waits does so by flow: a keystroke overtakes a
transfer (FQ-CoDel, RFC 8290; the unit is the super-packet). `datagrams` gives 256 KB at most and says by `backlog` that
there is more; a way whose socket is full (`hold`, `release`) keeps its own packets only.

Two ways. While a peer's datagrams come by UDP, a connection of framed TCP beside it is a way for bulk flows alone, which
the owner chooses (`WayHeard`, `Ways.use_bulk`): 64 KB a seal. A flow takes it from its first large packet until it has paused,
with its small packets and with what it has waiting, so that nothing of a flow overtakes here. A way that ends (`way_lost`), or is full
and takes nothing for half a second (`BulkStalled`), gives its packets back to the other. Once UDP has been silent for
8 s the peer is where its TCP comes from; the next datagram brings it back.

Sizes. TCP is cut as coarsely or finely as the path carries (`Ways.mtu`, which the owner has from `traversal.path_mtu`);
everything else leaves as it was made. `probe` sends what nobody may fragment.

Sessions. `Keyring` has the slots of the paper. An initiator uses a session as soon as the response is there, and
confirms it by the first message, empty if need be; the responder uses it once that message came:

    initiator                 none ── response ──► current ── a newer one ──► previous ── 180 s ──► gone
    responder     none ── initiation ──► next ── first message ──► current ── a newer one ──► previous

Unlike the paper there are up to eight sessions in `next` and sixteen in `previous`, and the last eight initiations may
still be answered: hole punching sends several in a row, from both sides at once, and whichever answer wins, the
peer must still hold the keys. No packet is lost when initiations cross. Whoever punches calls `Device.initiate`
with all endpoints in question: the same initiation goes to each, the copies are refused as replays, and the
endpoint is where the answer came from.

Suites. Own nodes whose processors have the instructions use AES-256-GCM, at a third of ChaCha20-Poly1305's cost a datagram (`suites.py`):
the same handshake under another Noise protocol name, with message types of its own (`messages.py`), never towards a peer that is
`stock` or that has not said by authenticated means that it takes it:

    no session ── handshake as in WireGuard ──► ChaCha20-Poly1305 ── both take AES: handshake in AES ──► AES-256-GCM
                                                     ▲                                                      │
                                                     └────── one in AES unanswered, the next answered ──────┘

So the first packet waits for no negotiation, old programs and WireGuard see nothing new, and the keyring carries every packet across.
Each side says what it takes in the tunnel (`Device.ciphers_told`; an initiation in AES says it, too), so that no third party can; one who
drops the messages in AES only keeps ChaCha20-Poly1305. After three such losses in a row the peer's word is forgotten, to be asked again.
Load, cookies, replays and the caps are common to both suites; the keys' limits are not (`constants.py`).

    initiator.py   when and where initiations leave        choice.py      which suite they are in
    initiations.py which ones may still be answered        reception.py   what arrives of handshakes, and what answers it

Roaming. The endpoint of a peer changes with an authenticated datagram that is the newest of its session, so that
stragglers on the old path do not move it back; an initiation alone does not move it, since it proves one direction
only. Between ways that the owner knows (`Device.know`) it decides itself (`Device.steer`): what comes by another of
them is told (`WayHeard`) and moves nothing; so is silence after data left, or after a flow came (`PathSilent`);
`send_by` asks by one certain way. A way by a relay is as one by UDP, less the channel's header (`steering.py`).

Timers are those of section 6 of the paper (`timers.py`). Seconds: renew after 120, refuse after 180, give up after
90, repeat after 5 and up to 0.334 more, keepalive after 10, silence 15, keys dropped after 540. Deadlines of all
peers are in one heap; the data path touches it only when a timer is due sooner than the peer's entry.

Floods. Nothing is stored for a message that does not authenticate, except a cookie reply on its way. mac1 comes
before any Diffie-Hellman; above 250 handshake messages a second mac2 does, too, and then each address has its own
rate. One peer's initiations are answered every 20 ms at most. With `accept_unknown` any key may have a session:
their number is bounded, a newcomer takes the place of one that never confirmed or that fell silent, and of no
other.

Limits: `constants.py`. Python cannot reliably erase keys: what is dropped may stay in the memory of the process for
a while.
"""

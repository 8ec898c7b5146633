"""TCP (RFC 9293) for a host in memory, sans-IO."""

from userlan.stack.tcp.config import Config
from userlan.stack.tcp.connection import Connection, Endpoint
from userlan.stack.tcp.isn import Initial, InitialNumbers
from userlan.stack.tcp.listener import Listener
from userlan.stack.tcp.resets import reset_reply
from userlan.stack.tcp.state import Events, State
from userlan.stack.tcp.timewait import TimeWait

__all__ = [
    "Config",
    "Connection",
    "Endpoint",
    "Events",
    "Initial",
    "InitialNumbers",
    "Listener",
    "State",
    "TimeWait",
    "reset_reply",
]

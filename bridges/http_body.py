"""Where an HTTP message body ends, sans-IO (RFC 9112, sections 6 and 7).

A reader is fed what follows a head and hands back the payload and, once the body is complete, what comes behind it.
Chunks are decoded here and encoded anew by :func:`encode_chunk`: extensions and trailers end here, and only one
understanding of the framing leaves.
"""

from __future__ import annotations

import re
from typing import Protocol

from bridges.http_syntax import HttpError

MAX_CHUNK_LINE = 1024
"""Bytes of a chunk-size line with its extensions."""

MAX_TRAILERS = 8 * 1024
"""Bytes of all trailer lines; they are read and dropped."""

LAST_CHUNK = b"0\r\n\r\n"

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class BodyReader(Protocol):
    """Reads one body."""

    done: bool
    """The body is complete."""

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, what follows the body); raises HttpError 400 on broken framing."""

    def ends_at_close(self) -> bool:
        """Whether the end of the connection ends the body in order."""


class LengthReader:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self._remaining = length
        self.done = length == 0

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        size = len(data)
        if size <= self._remaining:
            self._remaining -= size
            self.done = self._remaining == 0
            return data, b""
        payload, rest = data[: self._remaining], data[self._remaining :]
        self._remaining = 0
        self.done = True
        return payload, rest

    def ends_at_close(self) -> bool:
        return self.done


class CloseReader:
    """A body that ends with its connection."""

    done = False

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""

    def ends_at_close(self) -> bool:
        return True


class ChunkedReader:
    """A chunked body."""

    def __init__(self) -> None:
        self.done = False
        self._line = bytearray()
        self._remaining = 0
        self._expect = "size"  # size, data, crlf (behind the data), trailer
        self._trailers = 0

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        payload: list[bytes] = []
        position = 0
        while position < len(data) and not self.done:
            if self._expect == "data":
                end = min(len(data), position + self._remaining)
                payload.append(data[position:end])
                self._remaining -= end - position
                position = end
                if not self._remaining:
                    self._expect = "crlf"
            else:
                position = self._read_line(data, position)
        return b"".join(payload), data[position:]

    def ends_at_close(self) -> bool:
        return self.done

    def _read_line(self, data: bytes, position: int) -> int:
        """Collect a line; where it ends, act on it."""
        newline = data.find(b"\n", position)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[position:end]
        limit = MAX_TRAILERS - self._trailers if self._expect == "trailer" else MAX_CHUNK_LINE
        if len(self._line) > limit:
            raise HttpError(400, "a line of the chunked body is too long")
        if newline >= 0:
            line = bytes(self._line)
            self._line.clear()
            if not line.endswith(b"\r\n"):
                raise HttpError(400, "the chunked body is malformed")
            self._take_line(line[:-2])
        return end

    def _take_line(self, line: bytes) -> None:
        if self._expect == "size":
            match = _CHUNK_LINE.fullmatch(line)
            if match is None:
                raise HttpError(400, "the chunked body is malformed")
            self._remaining = int(match[1], 16)
            self._expect = "data" if self._remaining else "trailer"
        elif self._expect == "crlf":
            if line:
                raise HttpError(400, "the chunked body is malformed")
            self._expect = "size"
        elif line:
            if not _TRAILER_LINE.fullmatch(line):
                raise HttpError(400, "the chunked body is malformed")
            self._trailers += len(line) + 2
        else:
            self.done = True


def reader_for(length: int | str | None) -> BodyReader:
    """The reader for a body: its length, None for chunked, "close" for one that ends with its connection."""
    if length is None:
        return ChunkedReader()
    return LengthReader(length) if isinstance(length, int) else CloseReader()


def encode_chunk(payload: bytes) -> bytes:
    """One chunk; empty for an empty payload, which would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""

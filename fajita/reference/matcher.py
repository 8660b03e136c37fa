"""What an NF gets for a matcher of its core in the interpreted engine: the same library, called by Python."""

import weakref
from typing import Any

from fajita.hyperscan import ON_MATCH, free_streams, library, new_scratch, new_stream
from fajita.matcher_type import MOST_NOTED, MatcherType
from fajita.reference.integer import Int64


class MatcherView:
    """Looks for patterns in payloads. open_streams: a key for each open stream, as a record keeps it."""

    def __init__(self, kind: MatcherType) -> None:
        self._kind, self._patterns = kind, kind.made
        self._block, self._stream = self._patterns.databases
        self._scratch = new_scratch(self._block, self._stream)
        self._streams: list[int] = []
        self._free: list[int] = []
        self._notes: list[tuple[int, int]] = []
        self._matches = 0
        self._note = ON_MATCH(self._on_match)
        self.open_streams: dict[tuple[int], int] = {}
        weakref.finalize(self, free_streams, self._streams, self._scratch)

    def __len__(self) -> int:
        return len(self.open_streams)

    def _on_match(self, pattern: int, start: int, end: int, flags: int, context: Any) -> int:
        self._matches += 1
        if len(self._notes) < MOST_NOTED and all(pattern != noted for noted, _ in self._notes):
            self._notes.append((pattern, end))
        return 0

    def scan(self, pkt: Any, stream: int, skip: int) -> Int64:
        """Look for the patterns in the payload from byte `skip` on, in an open stream or by itself: the matches."""
        self._matches, self._notes = 0, []
        payload = bytes(pkt.payload)
        if not 0 <= skip < len(payload):
            return Int64(0)
        data = payload[int(skip) :]
        if (int(stream),) in self.open_streams:
            handle = self._streams[int(stream) - 1]
            library().hs_scan_stream(handle, data, len(data), 0, self._scratch, self._note, None)
        else:
            library().hs_scan(self._block, data, len(data), 0, self._scratch, self._note, None)
        return Int64(self._matches)

    def open(self) -> Int64:
        """The number of a new stream; 0 if there may be no more."""
        if self._free:
            number = self._free.pop()
            self._reset(number)
        else:
            if len(self._streams) == self._kind.length or (stream := new_stream(self._stream)) == 0:
                return Int64(0)
            self._streams.append(stream)
            number = len(self._streams)
        self.open_streams[(number,)] = 1
        return Int64(number)

    def _reset(self, number: int) -> None:
        library().hs_reset_stream(self._streams[number - 1], 0, None, None, None)

    def restart(self, stream: int) -> bool:
        """Forget what a stream has seen; whether it is open."""
        is_open = (int(stream),) in self.open_streams
        if is_open:
            self._reset(int(stream))
        return is_open

    def close(self, stream: int) -> bool:
        """Give a stream back; whether it was open."""
        was_open = self.open_streams.pop((int(stream),), None) is not None
        if was_open:
            self._free.append(int(stream))
        return was_open

    def pattern(self, index: int) -> Int64:
        """Which pattern the last scan noted there; -1: none."""
        return Int64(self._notes[int(index)][0] if 0 <= index < len(self._notes) else -1)

    def end(self, index: int) -> Int64:
        """Where the first match of that pattern ends, from the stream's or the payload's beginning; -1: none."""
        return Int64(self._notes[int(index)][1] if 0 <= index < len(self._notes) else -1)


def matcher_property(name: str, kind: MatcherType) -> property:
    """The attribute of the one record that has the matcher."""
    view = MatcherView(kind)

    def read(record: Any) -> MatcherView:
        view.open_streams = record.kept[name]
        return view

    return property(read)

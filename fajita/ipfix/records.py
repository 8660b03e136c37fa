"""The records of a run as messages of IPFIX (RFC 7011)."""

import struct

import numpy as np
from numpy.typing import NDArray

from fajita.errors import InputError
from fajita.ipfix.destination import Destination, find_destination
from fajita.ipfix.template import Template, make_templates
from fajita.plan import NFPlan, Plan
from fajita.records import Sides

VERSION = 10
#: Version, length, export time, sequence number and observation domain; and the number and length of a set.
HEADER, SET_HEADER = struct.Struct(">HHIII"), struct.Struct(">HH")
#: The set that has templates.
TEMPLATE_SET = 2
#: The chain, as what is observed.
OBSERVATION_DOMAIN = 1
#: A collector that may have missed the templates gets them again after so many messages.
MESSAGES_PER_TEMPLATES = 64


class IpfixRecords:
    """Writes the records of NFs that name information elements; the templates first.

    to: a file, or udp://HOST:PORT. InputError for what is neither, for a chain without such an NF, and for records
    that IPFIX has no names for.
    """

    def __init__(self, to: str, plan: Plan) -> None:
        self._templates = make_templates(plan)
        self._destination: Destination = find_destination(to)
        self._has_failed, self._lacks_templates = False, False
        #: Data records in messages so far, which tell a collector what it has missed (RFC 7011, 3.1).
        self._sequence = 0
        self._messages = 0
        self._latest_second = 0

    def write(self, nf: NFPlan, sides: Sides) -> None:
        """Send them; InputError if that cannot be. A file then gets nothing any more, a collector what comes later."""
        for templates, rows in zip(self._templates.get(nf.index, []), sides, strict=False):
            for template in templates:
                self._send_records(template, rows)

    def close(self) -> None:
        """All records have come; of a run without any the templates are there."""
        try:
            if self._messages == 0:
                self._send_templates()
        finally:
            self._destination.close()

    def _send_records(self, template: Template, rows: NDArray[np.void]) -> None:
        records = template.records(rows)
        room = (self._destination.longest - HEADER.size - SET_HEADER.size) // template.dtype.itemsize
        if len(records):
            self._latest_second = max(self._latest_second, template.latest_second(rows))
        for start in range(0, len(records), room):
            due = self._messages % MESSAGES_PER_TEMPLATES == 0 if self._destination.forgets else self._messages == 0
            if due or self._lacks_templates:
                self._send_templates()
            part = records[start : start + room]
            self._send(template.number, part.tobytes(), len(part))

    def _send_templates(self) -> None:
        """All of them, in as many messages as that takes."""
        self._lacks_templates = False
        room = self._destination.longest - HEADER.size - SET_HEADER.size
        waiting = b""
        for template in (each for sides in self._templates.values() for side in sides for each in side):
            definition = template.definition()
            if len(waiting) + len(definition) > room:
                self._send(TEMPLATE_SET, waiting, 0)
                waiting = b""
            waiting += definition
        self._send(TEMPLATE_SET, waiting, 0)

    def _send(self, number: int, content: bytes, records: int) -> None:
        """A message with one set, in which there are so many data records."""
        if self._has_failed:
            return
        length = HEADER.size + SET_HEADER.size + len(content)
        second = self._destination.now(self._latest_second) & 0xFFFFFFFF
        header = HEADER.pack(VERSION, length, second, self._sequence, OBSERVATION_DOMAIN)
        try:
            self._destination.send(header + SET_HEADER.pack(number, length - HEADER.size) + content)
        except InputError:
            # A collector may listen again, and is another then.
            self._has_failed, self._lacks_templates = not self._destination.forgets, self._destination.forgets
            raise
        self._messages += 1
        self._sequence = (self._sequence + records) & 0xFFFFFFFF

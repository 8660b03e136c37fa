"""The interpreted engine: packet by packet in CPython. It is the executable definition of what a chain does.

It shares with the compiled engine what is data (the plan, the table of header fields) and no code that runs per packet.
"""

from fajita.reference.engine import ReferenceEngine

__all__ = ["ReferenceEngine"]

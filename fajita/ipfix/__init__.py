"""Records as IPFIX (RFC 7011): to a file (RFC 5655), or by UDP to a collector."""

from fajita.ipfix.records import IpfixRecords

__all__ = ["IpfixRecords"]

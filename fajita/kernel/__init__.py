"""What runs per packet: memory, hash, flow table, header parsing, and the code generated for a chain."""

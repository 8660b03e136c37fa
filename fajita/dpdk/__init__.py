"""DPDK: packets from and to network interfaces. Nothing here is imported unless a user asks for it."""

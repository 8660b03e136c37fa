"""The Linux kernel as an oracle: the same packets through nftables in network namespaces and through fajita."""

"""Rules of a firewall in a subset of nftables' notation: read, and made ready to find the first that matches."""

"""The network functions that fajita ships, one file each, written with the public API alone."""

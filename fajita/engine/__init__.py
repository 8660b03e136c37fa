"""What runs a chain: a worker with its tables, and what it counts."""

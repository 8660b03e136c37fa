"""Numbers of things in sentences."""


def counted(count: int, noun: str) -> str:
    """`1 packet`, `2 packets`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""What processors fetch at once."""

LINE_BYTES = 64

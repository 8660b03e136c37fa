"""Where frames come from and go to: captures, memory, synthetic traffic."""

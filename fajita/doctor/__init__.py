"""What a machine has of what a run needs, and the commands that bring what is missing (`fajita doctor`)."""

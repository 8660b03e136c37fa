"""`python -m fajita` is the command `fajita`."""

from fajita.cli import main

main()

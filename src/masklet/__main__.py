"""`python -m masklet` is the same as `masklet`."""

from masklet.cli import main

main()

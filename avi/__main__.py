"""`python -m avi`."""

from avi.cli import main

main()

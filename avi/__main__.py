"""`python -m avi`."""

from avi.cli.main import main

main()

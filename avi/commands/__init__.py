"""What the command line can ask for: one module and one `main` for each command."""

"""What a process owes its shell."""

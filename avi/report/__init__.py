"""What a person reads of a run: figures, tables and pages, made from its files only."""

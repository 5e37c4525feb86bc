"""Data sets: rows as stored, and the view of one row that the bound scores."""

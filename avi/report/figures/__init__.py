"""Figures from records: each function returns a matplotlib `Figure`, which `style` prints."""

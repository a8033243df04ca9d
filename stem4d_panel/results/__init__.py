"""Results: saved, loaded, and how they came about."""

"""What a run shows for itself: curves, pictures before and after, tables. It reads records and trains nothing."""

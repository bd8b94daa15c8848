"""The three stages, evaluation, and the runs that leave records on disk."""

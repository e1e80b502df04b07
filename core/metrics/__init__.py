"""Metrics, exactly as the papers compute them, on channels-first torch tensors; one float64 score per image."""

"""Training losses, one idea per file, needing torch alone."""

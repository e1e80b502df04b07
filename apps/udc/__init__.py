"""Under-display cameras: simulating what a display does to a picture, and undoing it."""

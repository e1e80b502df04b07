"""Under-display cameras: simulating what a display does to a picture, and undoing it."""

COMMANDS = {"simulate": "take clean pictures through a display, by physics or by MPGNet"}

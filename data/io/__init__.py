"""File formats: for each a source that reads windows and a sink that writes rows."""

"""The networks of the app."""

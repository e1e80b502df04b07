"""The apps, one a folder; none imports another."""

"""Building blocks around attention, needing torch alone."""

"""Super-resolution: photographs made two, three or four times larger."""

"""Files in, samples out: formats, datasets and transforms."""

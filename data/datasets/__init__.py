"""Dataset layouts, one per file, and the samplers that make training repeatable."""

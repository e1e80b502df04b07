"""Where networks of this package's attention blocks look: maps, rollout and relevance. Needs torch alone."""

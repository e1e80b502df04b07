"""Polyps in endoscopy: pictures and videos segmented for colonoscopy."""

"""Plain networks of well-known libraries, to see beside ours what attention buys."""

"""A page in the browser to write a story, place its boxes and draw it; served on this machine only."""

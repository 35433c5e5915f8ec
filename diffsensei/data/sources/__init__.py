"""Where pages and their annotations come from."""

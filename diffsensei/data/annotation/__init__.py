"""Annotations of pages that came without: by machine, then corrected by people (paper sec. 3.2)."""

"""Annotating pages that came without: by machine first (paper sec. 3.2), then corrected by people."""

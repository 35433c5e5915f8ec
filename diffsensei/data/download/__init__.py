"""Page images over HTTP: polite to hosts, distrustful of what comes, resumable."""

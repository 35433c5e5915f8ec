"""The outside world: settings, artifact store, jobs, clusters, provenance. Knows nothing of manga."""

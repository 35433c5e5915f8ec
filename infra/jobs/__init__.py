"""Work that outlives its caller: specification, backends, the runner beside the job, the entry inside it."""

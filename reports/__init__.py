"""From typed results to pages a person reads. Pure functions: folders in, static HTML out; nothing is fetched."""

"""From annotation to panel sets: sources, download, validation, panels, and the synthetic world (paper sec. 3)."""

"""The paper's training stages: one loop, one objective per stage, frozen features computed once."""

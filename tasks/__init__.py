"""Prefect around one library call each, and the declaration of every stage."""

"""DiffSensei as a library: the paper's method, its data, its training and its evaluation.

Nothing here knows of Prefect, of environment variables or of the machine: functions take typed
configuration values and paths, and write files.
"""

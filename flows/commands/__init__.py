"""The commands of ``diffsensei`` by theme. Everything heavy is imported by the command that needs it."""

"""What this project knows about Claude Code's own files."""

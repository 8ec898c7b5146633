"""Programs of this project's own that run as processes at a place, by their path."""

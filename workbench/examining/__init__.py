"""Asking models for a mark: questions of sets, losses, benchmarks, everything kept as it comes. Knows no job and no page."""

"""Datasets: which there are, their rows as samples, what is wrong with them, and how the list is kept. Knows no model and no page."""

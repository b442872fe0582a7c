"""What an evaluation measures and how figures are compared. Knows no model, no run and no page."""

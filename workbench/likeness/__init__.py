"""How alike two texts are: their words, what they share, and the values of JSON. Knows no metric and no model."""

"""Servers of others that answer in our stead: their processes and their wires. Knows no engine, no model and no page."""

"""The OpenAI-compatible HTTP API over one engine. Knows no run, no page and no model's files."""

"""What the formats of datasets share: values, tools, messages, their order, and pairs. Knows no format by name."""

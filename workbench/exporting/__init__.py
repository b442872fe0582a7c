"""An export's folder: where it lies, how it comes there whole or not at all, what stands in it. Knows no exporter and no run."""

"""What a model becomes: one file is one exporter. Knows models, no page and no run.

To add one, write ``exporters/x.py`` with ``Spec`` and ``export(model, spec, folder)``.
"""

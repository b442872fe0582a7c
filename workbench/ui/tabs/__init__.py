"""What a person sees: one file is one tab. Knows specs and runs, no worker and no job.

To add one, write ``tabs/x.py`` with ``ORDER`` (its place from the left), ``FIRST`` (whether a visitor finds it open), ``TITLE``
(a Text of its class Say, so that it is translated) and ``build(desk)``.
"""

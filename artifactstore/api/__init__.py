"""The HTTP API: every handler translates transport to a use-case. docs/reference/http-api.md is its contract.

``serve`` runs it, ``app`` puts it together, ``routes`` has a module for each noun, ``guards`` says who may, ``errors``
has the one table from our errors to HTTP's answers.
"""

"""Migrations of the pilot's tables, a branch of their own: applied after the core's, on which they rest."""

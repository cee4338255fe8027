"""Probing a backend: what is measured of it, and what that means for whoever stores there."""

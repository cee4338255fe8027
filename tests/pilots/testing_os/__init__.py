"""Tests of the testing-os pilot."""

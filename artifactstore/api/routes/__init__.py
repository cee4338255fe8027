"""A module for each noun. Handlers parse, call one use-case, and answer its document."""

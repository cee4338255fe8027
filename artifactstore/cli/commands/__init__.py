"""One module for each noun; each function a few lines over a use-case."""

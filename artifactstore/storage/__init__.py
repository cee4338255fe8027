"""Where bytes rest: the port every backend implements, the layout of keys, packs, and the adapters."""

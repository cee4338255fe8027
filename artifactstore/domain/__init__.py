"""Values and rules: what a digest, a path, a manifest, a package is. No web, SQL or cloud library is imported here."""

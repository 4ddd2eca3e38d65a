"""What stands behind `streamkit.testing`, which is where to import it from."""

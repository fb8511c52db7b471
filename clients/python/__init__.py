"""What Python programs of others use. Files here know only the published protocol."""

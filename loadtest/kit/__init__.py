"""Artillery's scenarios one after the other against a whole cluster, the probe beside them, and a verdict."""

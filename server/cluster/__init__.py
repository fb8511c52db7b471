"""The whole cluster as one replica sees it: what all processes tell each other of themselves."""

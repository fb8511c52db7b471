"""Running all parts together: the local cluster, its Nginx, and the checks of configuration files."""

"""What a process tells of itself: figures for Prometheus, times of sampled messages, logs and traces."""

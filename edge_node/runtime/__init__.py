"""The running service: threads, queues, start, stop, and the one place that wires concrete classes."""

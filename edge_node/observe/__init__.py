"""What an operator of the service sees: logs and the state told to systemd."""

"""A robotics and IoT node framework: MQTT in, checked commands and cited answers out."""

__version__ = "0.1.0"
__all__ = ["__version__"]

"""A self-hosted WhatsApp HTTP gateway that heals itself and loses nothing."""

__version__ = "0.1.0"

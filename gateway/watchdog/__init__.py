"""The watchdog: decides what must die. supervisord alone restarts it."""

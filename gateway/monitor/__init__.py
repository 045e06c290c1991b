"""The monitor: how it goes, in a terminal or for a script. Asks the API alone; while that is down, the processes' own signs of life."""

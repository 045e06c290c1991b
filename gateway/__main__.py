"""The command `gateway`, also as `python -m gateway`."""

import sys


def main() -> None:
    """Run the command line. `gateway ready` alone comes before it: what the command line imports costs more than asking."""
    if sys.argv[1:] == ["ready"]:
        from gateway import ready

        sys.exit(ready.main())
    from gateway import cli

    cli.run()


if __name__ == "__main__":
    main()

"""`python -m wavenet` runs the command `wavenet`, which need not be on the PATH."""

from wavenet.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m wavenet`: the command `wavenet`, for programs that have a Python but no search path."""

from wavenet.cli.main import main

if __name__ == "__main__":
    main()

"""`python -m wavenet`: the command `wavenet`, for programs that know their Python and no path."""

from wavenet.cli.main import main

if __name__ == "__main__":
    main()

"""The command line: ``purenn verify``, ``train``, ``predict``, ``show`` and ``demo``."""

import argparse
import os
import sys
from collections.abc import Sequence

from purenn import __version__
from purenn.cli import demo, predict, show, train, verify
from purenn.cli.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: fine; 1: a rule failed; 2: it could not run; 130: it was interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="purenn",
        description="Neural networks as pure functions, every derivative by hand and examined.",
    )
    parser.add_argument("--version", action="version", version=f"purenn {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (verify, train, predict, show, demo):
        command.add(commands)
    options, rest = parser.parse_known_args(arguments)
    # argparse takes rules only before the options; people write them after, too.
    if rest and ("rules" not in options or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.rules += rest
    try:
        return int(options.run(options))
    except UsageError as error:
        print(f"purenn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("purenn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has stopped, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ModuleNotFoundError as error:
        hint = f"pip install 'purenn[{options.extra}]'"
        print(f"purenn: {error}; this command needs: {hint}", file=sys.stderr)
        return 2

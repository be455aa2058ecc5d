"""The command line: ``purenn verify``, ``train``, ``predict``, ``show`` and ``demo``."""

import argparse
import io
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
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever it is encoded in
        sys.stdout.reconfigure(errors="replace")
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except UsageError as error:
        print(f"purenn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("purenn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has stopped, as `head` does
        _discard_output()
        return 141
    except MemoryError as error:
        print(
            f"purenn: there is not enough memory{f': {error}' if str(error) else ''}",
            file=sys.stderr,
        )
        return 2
    except OSError as error:  # of the output, say on a disk that is full
        where = error.filename or "the output cannot be written"
        print(f"purenn: {where}: {error.strerror or error}", file=sys.stderr)
        _discard_output()
        return 2
    except ModuleNotFoundError as error:
        hint = f"pip install 'purenn[{options.extra}]'"
        print(f"purenn: {error}; this command needs: {hint}", file=sys.stderr)
        return 2


def _discard_output() -> None:
    """Else what is left of it would be written, and fail, once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

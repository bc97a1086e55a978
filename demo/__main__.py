"""``python -m demo``: an airline's operations desk lives through the blizzard of February 2013."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--no-serve", action="store_true", help="end after the report, without serving the admin"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="where the database and the mails go (default: .demo beside the package)",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="of the admin (default: 8000, or any free one)"
    )
    options = parser.parse_args()
    if options.directory is not None:
        os.environ["FLOWCONTROL_DEMO_DIRECTORY"] = str(options.directory)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
    django.setup()

    from demo.show import show  # noqa: PLC0415 (models can be imported only now)

    show(serve=not options.no_serve, port=options.port)


if __name__ == "__main__":
    main()

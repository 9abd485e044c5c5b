"""``python3 -m trainer``. Loader processes import this file too, so it stays empty for them."""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    from trainer.main import main

    sys.exit(main(sys.argv[1:]))

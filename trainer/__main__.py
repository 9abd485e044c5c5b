"""``python3 -m trainer``. Loader processes import this file too, so it stays empty for them."""

from __future__ import annotations

if __name__ == "__main__":
    from trainer.guard import guarded

    def body() -> int:
        """Here and not above: all imports that take long are guarded."""
        import sys

        from trainer.main import main

        return main(sys.argv[1:])

    guarded(body)

"""``python3 -m trainer``. Loader processes import this file too, so it stays empty for them."""

from __future__ import annotations

if __name__ == "__main__":
    from trainer.guard import guarded

    def body() -> int:
        """Here and not above: all imports that take long are guarded."""
        import sys

        try:
            from trainer.main import main
        except BaseException as error:
            from trainer.failure import report_before_main

            return report_before_main(error, sys.argv[1:])
        return main(sys.argv[1:])

    guarded(body)

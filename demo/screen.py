"""What the reader sees: aligned columns, marks, a countdown, within 110 columns.

Colours and lines that are written over appear on a terminal only; a pipe gets plain lines. Where the locale is not
UTF-8 the marks are ASCII. Deliberately absent: anything that knows what the lines are about.
"""

import os
import shutil
import sys
import textwrap
import time
from itertools import zip_longest

WIDTHS = (35, 26, 42)  # with the mark and the gaps: 110 columns
COLUMNS = ("what was tried", "what should happen", "what happened")
GREEN, RED, BOLD, DIM = "32", "31", "1", "2"


class Screen:
    def __init__(self, out=None):
        self.out = out or sys.stdout
        if hasattr(self.out, "reconfigure"):
            self.out.reconfigure(errors="replace")
        utf8 = (self.out.encoding or "").lower().replace("-", "") == "utf8"
        self.marks = {True: "\u2713", False: "\u2717"} if utf8 else {True: "ok", False: "NO"}
        self.terminal = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.colours = self.terminal and "NO_COLOR" not in os.environ
        # Writing over a line works only where the line does not wrap.
        self.overwrite = self.terminal and shutil.get_terminal_size().columns >= 110
        self.failed = 0
        self.lines = 0

    def say(self, text=""):
        self._write(text + "\n")

    def headings(self):
        self.say(self._paint(BOLD, self._cells("", *COLUMNS)))

    def begin(self, tried, should):
        """Shows what is being tried, where the line can be completed later."""
        if self.overwrite:
            self._write(self._paint(DIM, self._cells("..", *self._first(tried, should))))

    def row(self, ok, tried, should, happened):
        """One line of the story; longer cells go on below."""
        self.erase()
        self.lines += 1
        self.failed += not ok
        mark = self._paint(GREEN if ok else RED, f"{self.marks[ok]:<2}")
        cells = [textwrap.wrap(text, width) for text, width in zip((tried, should, happened), WIDTHS)]
        for number, line in enumerate(zip_longest(*cells, fillvalue="")):
            self.say((mark if number == 0 else "  ") + self._cells("", *line)[2:])

    def countdown(self, until, text):
        """Waits until this time (`time.time()`), and says how long it still takes."""
        if not self.overwrite and until > time.time():
            self.say("   " + text.format(round(until - time.time())))
        while (left := until - time.time()) > 0:
            if self.overwrite:
                self.erase()
                self._write(self._paint(DIM, "   " + text.format(int(left) + 1)))
            time.sleep(min(1.0, left))
        self.erase()

    def erase(self):
        if self.overwrite:
            self._write("\r\x1b[K")

    def summary(self):
        """How many lines went as they should."""
        if self.failed:
            return self._paint(RED, f"{self.failed} of {self.lines} lines did not go as they should")
        return self._paint(GREEN, f"all {self.lines} lines went as they should")

    def _first(self, *cells):
        return [(textwrap.wrap(text, width) or [""])[0] for text, width in zip(cells, WIDTHS)]

    @staticmethod
    def _cells(mark, *cells):
        padded = "  ".join(f"{text:<{width}}" for text, width in zip(cells, WIDTHS))
        return f"{mark:<2} {padded}".rstrip()

    def _paint(self, colour, text):
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours else text

    def _write(self, text):
        self.out.write(text)
        self.out.flush()

# SPDX-License-Identifier: MIT
"""How a benchmark says what it measured: a table with a peer or a limit of the same run."""

from __future__ import annotations

from dataclasses import dataclass

HEADER = "| figure | tgsyncd | peer or bare | ratio | limit | |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: a value, what it stands beside, and what it must not exceed (or must reach)."""

    what: str
    value: float
    unit: str = ""
    peer: float | None = None
    """The same of a peer, in the same unit."""
    peer_name: str = ""
    at_most: float | None = None
    at_least: float | None = None
    limits: str = "value"
    """What the limit is about: the "value", its "ratio" to the peer, or what it "adds" to the peer."""

    @property
    def ratio(self) -> float | None:
        """The value over the peer's."""
        return self.value / self.peer if self.peer else None

    @property
    def is_good(self) -> bool:
        """Whether the limit is kept; True where there is none."""
        held = {"value": self.value, "ratio": self.ratio or 0.0, "adds": self.value - (self.peer or 0.0)}
        return not (
            (self.at_most is not None and held[self.limits] > self.at_most)
            or (self.at_least is not None and held[self.limits] < self.at_least)
        )

    def row(self) -> str:
        """Return it as a row of the table."""
        limit = ""
        for sign, bound in (("≤", self.at_most), ("≥", self.at_least)):
            if bound is not None:
                unit = "" if self.limits == "ratio" else f" {self.unit}"
                sign_of = f"{self.limits} {sign}" if self.limits != "value" else sign
                limit += f"{sign_of} {bound:g}{unit}".strip()
        peer = (
            ""
            if self.peer is None
            else f"{_short(self.peer)} {self.unit} {self.peer_name}".replace("  ", " ")
        )
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = "" if not limit else ("ok" if self.is_good else "MISSED")
        return (
            f"| {self.what} | {_short(self.value)} {self.unit}".rstrip()
            + f" | {peer} | {ratio} | {limit} | {verdict} |"
        )


def show(figures: list[Figure]) -> int:
    """Print the table; return how many limits were missed."""
    print(f"\n{HEADER}\n| --- | --- | --- | --- | --- | --- |")
    for figure in figures:
        print(figure.row())
    print(flush=True)
    return sum(not figure.is_good for figure in figures)


def _short(value: float) -> str:
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"

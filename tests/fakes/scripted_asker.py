# SPDX-License-Identifier: MIT
"""Somebody at the terminal whose answers are known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field

from tgsyncd.cli.runner import Interrupted


@dataclass
class ScriptedAsker:
    """
    Answers with what it is given, in order: text, True or False, or a callable.

    A callable is called when its question comes (the person does something in Telegram) and returns the
    answer. ``Interrupted`` is raised. ``asked`` keeps the questions with the kind of each.
    """

    answers: list = field(default_factory=list)
    is_there: bool = True
    asked: list = field(default_factory=list)

    def text(self, question):
        return self._answer("text", question)

    def secret(self, question):
        return self._answer("secret", question)

    def confirm(self, question):
        return self._answer("confirm", question)

    def _answer(self, kind, question):
        self.asked.append((kind, question))
        assert self.answers, f"nobody expected to be asked: {question}"
        answer = self.answers.pop(0)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Interrupted):
            raise answer
        assert isinstance(answer, bool) == (kind == "confirm"), f"{question}: {answer!r} is no answer"
        return answer

"""An observer that keeps what it is told."""

from __future__ import annotations

from typing import Any

from streamkit import Observer


class Recorder(Observer):
    """Keeps every event as a name and its arguments, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        for event in [name for name in dir(Observer) if name.startswith("on_")]:
            setattr(self, event, self._keeper(event))

    def of(self, event: str) -> list[Any]:
        """The arguments of every event of this name; a single argument is not wrapped in a tuple."""
        found = [arguments for name, arguments in self.events if name == event]
        return [arguments[0] if len(arguments) == 1 else arguments for arguments in found]

    def _keeper(self, event: str) -> Any:
        def keep(*arguments: Any) -> None:
            self.events.append((event, arguments))

        return keep

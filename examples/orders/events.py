"""The order events, how they are written, and what the two groups do with one."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from decimal import Decimal
from itertools import count

from streamkit import DataclassCodec

TYPES = ("order.placed", "order.paid", "order.shipped", "order.cancelled")
CUSTOMERS = ("Ada", "Björk", "Chidi", "Dolores", "Emeka", "Frida", "Grace", "Hiro", "Ines", "Jun")


@dataclass(frozen=True)
class OrderEvent:
    """Something that happened to an order."""

    type: str
    order_id: str
    customer: str
    amount: Decimal
    ts_ms: int


CODEC = DataclassCodec(OrderEvent)


class Unnotifiable(ValueError):
    """There is nobody to notify."""


class Maker:
    """Invents events, each for an order of its own."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._chance = random.Random()

    def event(self, event_type: str | None = None, customer: str | None = None) -> OrderEvent:
        """An event: of any type and for any customer, unless given."""
        chance = self._chance
        return OrderEvent(
            type=event_type or chance.choice(TYPES),
            order_id=f"o-{next(self._numbers):05}",
            customer=chance.choice(CUSTOMERS) if customer is None else customer,
            amount=Decimal(chance.randint(500, 25_000)).scaleb(-2),
            ts_ms=time.time_ns() // 1_000_000,
        )

    def poison_pill(self) -> OrderEvent:
        """An event that `notifications` can do nothing with: the name of its customer is missing."""
        return self.event("order.placed", customer="")


class Work:
    """What the groups do with an event; stands for an e-mail sent, and a total brought up to date."""

    mended: bool = False
    """Whether `notify` knows what to do where the customer is missing."""
    turnover: Decimal = Decimal(0)

    def notify(self, event: OrderEvent) -> None:
        """Tell the customer. Fails for a customer without a name, until somebody mends it."""
        if not event.customer and not self.mended:
            raise Unnotifiable(f"order {event.order_id} has no customer to notify")

    def analyse(self, event: OrderEvent) -> None:
        """Count what was paid."""
        if event.type == "order.paid":
            self.turnover += event.amount

"""A tool charge: what costs money and is no model's call, held and settled as one.

A search, a scraper, a sandbox: its price is known before, so nothing is read from a response.
"""

from typing import TYPE_CHECKING

from spendtree.account import Denial
from spendtree.call.call import Call
from spendtree.ending import not_billed
from spendtree.errors import ScopeError
from spendtree.event import Event, Kind
from spendtree.money import Money, to_pico

if TYPE_CHECKING:
    from spendtree.scope import Scope
    from spendtree.tracker import Spendtree

PURPOSE = "tool"
"""What a charge's hold says it is for, also where somebody else must lapse it."""


class Tool(Call):
    """A charge under budget; use it with `with` or `async with` around what is charged.

    Entering raises BudgetExceededError, EnvelopeExhaustedError or StoreUnavailableError before
    anything is used. Leaving charges the price, or what was recorded. Leaving by an exception
    presumes the price spent, unless the exception says that surely nothing was billed.
    """

    def __init__(
        self,
        tracker: "Spendtree",
        scope: "Scope | None",
        name: str,
        *,
        cost: Money,
        optional: bool = False,
    ) -> None:
        super().__init__(tracker, scope, "", purpose=PURPOSE, optional=optional)
        if not isinstance(name, str) or not name:
            raise ScopeError('a tool needs a name, like "web_search"')
        self.name = name
        self._price = self._pico(cost)
        self._cost: int | None = None
        self._data = {"name": name}

    def record(self, response: Money) -> None:
        """Note the true cost in dollars, where it is another one than the price; 0 is nothing."""
        self._cost = self._pico(response)

    def switch(self, model: str, provider: str) -> bool:
        """Tell that there is nothing to fall back to: no model is asked."""
        return False

    def _begin(self) -> Denial | None:
        denial = super()._begin()
        self._data = self._with(name=self.name)  # outside any scope it was replaced
        return denial

    def _described(self) -> str:
        return f"tool {self.name!r}"

    def _worst_case(self) -> int:
        return self._price

    def _ending(self, error: BaseException | None) -> Event:
        void = self._void or (not_billed(error) if error is not None else "")
        if self._cost is not None or (error is None and not void and not self._lapse):
            cost = self._price if self._cost is None else self._cost
            return self._charge(cost, error, {})
        if void:
            return self._charge(0, error, {"reason": void}, status="failed")
        return self._unknown(error)

    def _charge(
        self, cost: int, error: BaseException | None, more: dict[str, str], status: str = ""
    ) -> Event:
        told = {"error": type(error).__name__} if error is not None else {}
        return Event(
            0,
            Kind.TOOL,
            self._end_time(),
            self._id,
            self._context,
            self._request,
            cost,
            self._held,
            status=status or ("ok" if error is None else "failed"),
            started=self._started,
            data=self._with(**told, **more),
        )

    def _pico(self, cost: Money) -> int:
        pico = to_pico(cost, what=f"the cost of tool {self.name!r}")
        if pico < 0:
            raise ScopeError(f"tool {self.name!r}: {cost} is no cost; give 0 or more")
        return pico

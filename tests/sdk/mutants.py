"""Mistakes that the ledger must not make, each as a change of its sources, and who notices it.

Values only; `test_mutants` makes each change in a copy of the sources and runs the tests on it.
"""

from typing import NamedTuple

ACCOUNT = "account.py"
IDS = "ids.py"
PERIOD = "period.py"
SCOPE = "scope/base.py"
SESSION = "scope/session.py"
CHANGES = "store/changes.py"
MEMORY = "store/memory.py"
SQLITE = "store/sqlite.py"
BOOKS = "store/books.py"
DATABASE = "store/database.py"
OWNER = "store/owner.py"
LIVENESS = "store/liveness.py"
SCOPE_BUDGETS = "scope/budgets.py"
SQLITE_ACCOUNTS = "store/sqlite_accounts.py"
STATEMENTS = "store/statements.py"

IN_RULES = "test_account.py"
SEARCH = "test_account_search.py::test_the_rules_hold_in_every_state_of_a_little_world"
WALKS = "test_account_search.py::test_the_engines_go_every_way_that_the_rules_go"
STORES = "test_store_conformance.py::test_"
FILE = "test_store_sqlite.py::test_"
BUDGETS = "test_budgets.py::test_"
PERIODS = "test_period.py"
CONFIGURATIONS = "test_configurations.py::test_"


class Mutant(NamedTuple):
    """A mistake: `old` becomes `new` in a module, and each of `killers` alone must notice."""

    mistake: str
    module: str
    old: str
    new: str
    killers: tuple[str, ...]


MUTANTS = (
    # Admission (rules 1, 3 and 5).
    Mutant(
        "checks only the leaf",
        ACCOUNT,
        "    for _, (cap, spent, presumed, held, terms) in path:\n",
        "    for _, (cap, spent, presumed, held, terms) in path[-1:]:\n",
        (IN_RULES, SEARCH, STORES + "any_account_of_the_path_refuses_for_all"),
    ),
    Mutant(
        "checks only the leaf, in SQL",
        STATEMENTS,
        '"AND (cap IS NULL OR ?1 <=',
        'f"AND (cap IS NULL OR no <> ?{count + 1} OR ?1 <=',
        (STORES + "any_account_of_the_path_refuses_for_all", WALKS),
    ),
    Mutant(
        "ignores open holds",
        ACCOUNT,
        "amount > cap - spent - presumed - held - terms[0]",
        "amount > cap - spent - presumed - terms[0]",
        (IN_RULES, SEARCH, STORES + "a_hold_that_would_fit_once_others_settle_is_busy"),
    ),
    Mutant(
        "ignores open holds, in SQL",
        STATEMENTS,
        "?1 <= cap - spent - presumed - held - reserved",
        "?1 <= cap - spent - presumed - reserved",
        (STORES + "a_hold_that_would_fit_once_others_settle_is_busy", WALKS),
    ),
    Mutant(
        "admits on presumed money, in SQL",
        STATEMENTS,
        "?1 <= cap - spent - presumed - held - reserved",
        "?1 <= cap - spent - held - reserved",
        (STORES + "presumed_money_exhausts_like_spent_money", WALKS),
    ),
    Mutant(
        "takes what is reserved",
        ACCOUNT,
        "amount > cap - spent - presumed - held - terms[0]",
        "amount > cap - spent - presumed - held",
        (SEARCH, STORES + "a_reserved_envelope_keeps_its_free_money_from_everybody_else"),
    ),
    Mutant(
        "takes what is reserved, in SQL",
        STATEMENTS,
        "?1 <= cap - spent - presumed - held - reserved",
        "?1 <= cap - spent - presumed - held",
        (STORES + "a_reserved_envelope_keeps_its_free_money_from_everybody_else", WALKS),
    ),
    Mutant(
        "says exhausted where it is busy",
        ACCOUNT,
        "if least > free + balance.held:",
        "if least > free:",
        (IN_RULES, SEARCH, STORES + "a_hold_that_would_fit_once_others_settle_is_busy"),
    ),
    Mutant(
        "says busy where it is exhausted",
        ACCOUNT,
        "if least > free + balance.held:",
        "if least > free + balance.held + balance.spent + balance.presumed:",
        (IN_RULES, SEARCH, STORES + "presumed_money_exhausts_like_spent_money"),
    ),
    Mutant(
        "grants less than the floor",
        ACCOUNT,
        "    if fits >= least:\n",
        "    if fits > 0:\n",
        (IN_RULES, SEARCH, STORES + "a_floor_lets_a_hold_take_what_is_left"),
    ),
    Mutant(
        "a denied hold leaves a trace",
        MEMORY,
        "            answer = rules.admit(before, amount, floor, lenient)\n",
        "            answer = rules.admit(before, amount, floor, lenient)\n"
        "            if isinstance(answer, Denial):\n"
        "                balances[path[0]] = rules.hold(before[0][1], amount)\n",
        (STORES + "a_hold_that_one_account_refuses_is_charged_to_none", WALKS),
    ),
    Mutant(
        "a denied hold leaves a trace, in SQL",
        SQLITE,
        'reservations, and who denies."""\n        self._database.rollback()\n',
        'reservations, and who denies."""\n        self._database.commit()\n',
        (STORES + "a_hold_that_one_account_refuses_is_charged_to_none", WALKS),
    ),
    # Endings (rules 2, 3 and 6).
    Mutant(
        "settles twice",
        MEMORY,
        '"""End a hold with its true cost, or adjust one that lapsed."""\n'
        "        if os.getpid() != self._pid:\n"
        "            self._check_process()\n"
        "        with unowned(self._lock):\n"
        "            hold = self._holds.pop(id, None)\n",
        '"""Mutated."""\n'
        "        if os.getpid() != self._pid:\n"
        "            self._check_process()\n"
        "        with unowned(self._lock):\n"
        "            hold = self._holds.get(id)\n",
        (STORES + "a_settlement_that_is_repeated_changes_nothing", WALKS),
    ),
    Mutant(
        "settles twice, in SQL",
        SQLITE,
        # The everyday way ends at the event's id, which is unique; this is where it falls back to.
        "            if execute(statements.DELETE_HOLD, (id,)).rowcount != 1:\n"
        "                return self._settle_late(",
        "            if execute(statements.DELETE_HOLD, (id,)).rowcount < 0:\n"
        "                return self._settle_late(",
        (STORES + "a_settlement_that_is_repeated_changes_nothing", WALKS),
    ),
    Mutant(
        "books no more than was held",
        ACCOUNT,
        "spent + cost, presumed, all_held - held",
        "spent + min(cost, held), presumed, all_held - held",
        (IN_RULES, SEARCH, STORES + "an_overrun_posts_in_full_and_blocks"),
    ),
    Mutant(
        "frees money on expiry",
        ACCOUNT,
        "spent, presumed + held, all_held - held",
        "spent, presumed, all_held - held",
        (IN_RULES, SEARCH, STORES + "a_lapse_presumes_the_whole_hold_spent"),
    ),
    Mutant(
        "spent falls on late truth",
        ACCOUNT,
        "spent + cost, all_presumed - presumed, held",
        "spent + cost - presumed, all_presumed, held",
        (IN_RULES, SEARCH, STORES + "late_truth_takes_the_presumption_away"),
    ),
    Mutant(
        "late truth leaves the presumption",
        ACCOUNT,
        "spent + cost, all_presumed - presumed, held",
        "spent + cost, all_presumed, held",
        (IN_RULES, SEARCH, STORES + "late_truth_takes_the_presumption_away"),
    ),
    Mutant(
        "an id may be settled with two costs",
        SQLITE,
        "                if not is_cost(known, cost):\n",
        "                if False:\n",
        (STORES + "a_settlement_that_is_repeated_changes_nothing",),
    ),
    # Caps and transfers (rule 8).
    Mutant(
        "transfers ignore holds",
        ACCOUNT,
        "    free = source.free\n    assert free is not None\n",
        "    free = source.cap - source.spent - source.presumed\n",
        (IN_RULES, SEARCH, STORES + "a_transfer_takes_only_free_money"),
    ),
    Mutant(
        "transfers make money",
        ACCOUNT,
        "return source._replace(cap=source.cap - amount), target",
        "return source, target",
        (IN_RULES, SEARCH, STORES + "a_transfer_moves_cap_from_one_account_to_another"),
    ),
    Mutant(
        "transfers reserve what others have reserved",
        CHANGES,
        '        if kind_of(name) == "session" and',
        '        if name == "mutated" and',
        (SEARCH, STORES + "a_transfer_cannot_reserve_what_the_session_has_not_free"),
    ),
    # Reservations.
    Mutant(
        "reserves without asking the session",
        ACCOUNT,
        "    if not terms.standing:\n",
        "    if terms.standing:\n",
        (
            SEARCH,
            STORES + "a_reservation_that_the_session_cannot_give_is_refused_and_leaves_nothing",
        ),
    ),
    Mutant(
        "gives nothing back when a run ends",
        ACCOUNT,
        "    balances = list(after)\n    moved =",
        "    balances = list(after)\n"
        "    if all(map(is_plain, balances)):\n"
        "        return balances, ()\n"
        "    moved =",
        (SEARCH, STORES + "a_reservation_ends_once"),
    ),
    Mutant(
        "gives back what another run still reserves",
        ACCOUNT,
        "    left = max(terms.standing - 1, 0)\n",
        "    left = 0\n",
        (SEARCH, STORES + "two_runs_of_a_role_share_its_reservation_until_both_are_done"),
    ),
    Mutant(
        "what a dead process reserved stays reserved",
        SQLITE,
        "            if dead:\n                self._release_all(",
        "            if False:\n                self._release_all(",
        (STORES + "what_a_dead_process_reserved_is_given_back",),
    ),
    # Warnings (rule 9).
    Mutant(
        "a warning fires twice",
        ACCOUNT,
        "if passed > terms.passed or balance.cap != old.cap:",
        "if balance.cap != old.cap:",
        (SEARCH, STORES + "each_mark_is_recorded_once_with_what_made_it_be_reached"),
    ),
    Mutant(
        "a warning fires again where money only fell and came back",
        ACCOUNT,
        "if passed > terms.passed or balance.cap != old.cap:",
        "if passed != terms.passed or balance.cap != old.cap:",
        (SEARCH, STORES + "money_that_falls_below_a_mark_and_comes_back_is_not_told_again"),
    ),
    Mutant(
        "a warning never fires",
        ACCOUNT,
        "    return sum((spent + presumed) * 1_000_000 >=",
        "    return 0 * sum((spent + presumed) * 1_000_000 >=",
        (SEARCH, STORES + "each_mark_is_recorded_once_with_what_made_it_be_reached"),
    ),
    Mutant(
        "a warning never fires, in SQL",
        STATEMENTS,
        '"AND (warn_next IS NULL OR spent + presumed + ?2 < warn_next)"',
        '""',
        (STORES + "each_mark_is_recorded_once_with_what_made_it_be_reached", WALKS),
    ),
    Mutant(
        "a raised cap warns no more",
        ACCOUNT,
        "if passed > terms.passed or balance.cap != old.cap:",
        "if passed > terms.passed:",
        (SEARCH, STORES + "a_raised_cap_arms_the_marks_that_are_above_again"),
    ),
    Mutant(
        "a warning is told twice",
        MEMORY,
        "            self._warnings = [w for w in self._warnings if w not in taken]\n",
        "",
        (STORES + "a_warning_is_taken_once_by_its_session_or_by_whoever_uses_the_account",),
    ),
    Mutant(
        "a warning is told twice, in SQL",
        SQLITE_ACCOUNTS,
        'execute(f"DELETE FROM warning {where} {taken}", names)',
        'execute(f"SELECT no, account, mark, cap, used FROM warning {where}", names)',
        (STORES + "two_stores_on_one_file_record_and_take_a_warning_once",),
    ),
    # Several processes.
    Mutant(
        "a pid of another namespace is judged",
        OWNER,
        "or self.namespace != here.namespace",
        "",
        ("test_owner.py::test_a_pid_tells_only_where_it_certainly_means_the_same_process",),
    ),
    Mutant(
        "the lock of life of a living process is not seen",
        LIVENESS,
        "return kind != fcntl.F_UNLCK",
        "return False",
        (
            "test_liveness.py::"
            "test_a_living_process_that_no_pid_can_judge_keeps_its_holds_however_old",
        ),
    ),
    Mutant(
        "a child keeps its parent's lock of life",
        DATABASE,
        "        self._life.after_fork_in_child()\n",
        "",
        ("test_liveness.py::test_a_forked_child_does_not_keep_its_parents_lock",),
    ),
    Mutant(
        "only configured budgets are charged",
        SCOPE_BUDGETS,
        "for a in possible if a.id in standing]",
        "for a in possible if a.id in [c.id for c, _ in configured]]",
        (CONFIGURATIONS + "a_process_that_does_not_know_a_budget_spends_under_it",),
    ),
    Mutant(
        "an older configuration changes a budget back, in SQL",
        BOOKS,
        "if before is not None and version <= before:",
        "if before is not None and version == before:",
        (CONFIGURATIONS + "two_processes_that_decide_at_once_leave_the_newer_ones_amount",),
    ),
    # Ids and periods.
    Mutant(
        "ids repeat after a fork",
        IDS,
        "import os\nimport time\n",
        "import random\nimport time\n\n\nclass os:\n    urandom = random.Random().randbytes\n",
        (FILE + "ids_of_a_child_do_not_repeat_its_parents",),
    ),
    Mutant(
        "the first moment of a period counts in the one before",
        SCOPE,
        "<= at < session.period_end",
        "<= at <= session.period_end",
        (BUDGETS + "the_very_first_moment_of_a_period_is_in_it_however_late_the_last_look_was",),
    ),
    Mutant(
        "a call counts in the old period and in the new one",
        SESSION,
        'if kind_of(a) in ("envelope", "run"))',
        'if a not in payers and kind_of(a) != "session")',
        (BUDGETS + "a_new_period_is_a_new_account_and_the_old_one_is_never_reset",),
    ),
    Mutant(
        "a period reaches into the next",
        PERIOD,
        "return day.isoformat(), day.toordinal() + 1",
        "return day.isoformat(), day.toordinal() + 2",
        (PERIODS,),
    ),
    Mutant(
        "a week begins on Sunday",
        PERIOD,
        "day.toordinal() + 8 - weekday",
        "day.toordinal() + 7 - weekday",
        (PERIODS,),
    ),
)

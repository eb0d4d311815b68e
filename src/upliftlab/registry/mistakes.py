"""What can go wrong with a registry, in one sentence each."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Collection


class RegistryError(UpliftlabError):
    """The registry does not hold what was asked for, or would lose something."""

    @classmethod
    def no_folder(cls, folder: object) -> RegistryError:
        """The folder is not there."""
        return cls(
            f"registry {str(folder)!r} is not there; record a run with "
            "upliftlab run --record DIR, or name another folder."
        )

    @classmethod
    def no_page(cls, name: str, site: object) -> RegistryError:
        """The review in that folder has no page of the record."""
        return cls(
            f"review {str(site)!r} has no page of {name!r} as it is on record; make it anew "
            "with upliftlab review."
        )

    @classmethod
    def unknown(cls, asked: str, have: Collection[str]) -> RegistryError:
        """No record has that name or address."""
        near = get_close_matches(asked, have, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return cls(f"no record is called {asked!r}; the registry has {len(have)} names.{hint}")

    @classmethod
    def ambiguous(cls, asked: str, found: Collection[str]) -> RegistryError:
        """Several records begin with that address, or several quarters have that name."""
        return cls(f"{asked!r} means several records: {sorted(found)}; name one of them.")

    @classmethod
    def unknown_arm(cls, arm: str, experiment: str, have: Collection[str]) -> RegistryError:
        """The experiment has no such treatment."""
        return cls(
            f"experiment {experiment!r} has treatments {sorted(have)}; {arm!r} is none of them."
        )

    @classmethod
    def which_arm(cls, experiment: str, have: Collection[str]) -> RegistryError:
        """Several treatments, and the decision names none."""
        return cls(f"experiment {experiment!r} has treatments {sorted(have)}; name one: --arm.")

    @classmethod
    def unknown_decision(cls, found: str, allowed: Collection[str]) -> RegistryError:
        """The decision is no word that the house uses."""
        return cls(f"decision is {found!r}; allowed: {sorted(allowed)}.")

    @classmethod
    def nobody(cls) -> RegistryError:
        """Nobody signs."""
        return cls("a decision needs who took it; name somebody: --by 'Li Wei'.")

    @classmethod
    def override_needs(cls, proposed: str, decision: str, missing: str) -> RegistryError:
        """A decision against the verdict without a reason, or without an end."""
        return cls(
            f"the analysis says {proposed!r} and the decision {decision!r} overrides it; "
            f"an override needs {missing}."
        )

    @classmethod
    def not_a_date(cls, found: str) -> RegistryError:
        """An expiry that is no date, or is past."""
        return cls(f"expires is {found!r}; write a day to come, such as 2027-03-31.")

    @classmethod
    def already_read(cls, name: str) -> RegistryError:
        """An experiment that was read cannot be started or stopped."""
        return cls(
            f"experiment {name!r} was read already; decide on it with upliftlab decide {name}."
        )

    @classmethod
    def unreadable_version(cls, version: object, known: int) -> RegistryError:
        """A version of the program that nobody here knows wrote the file."""
        return cls(
            f"it is of schema version {version!r} and this upliftlab reads up to {known}; "
            "read it with the upliftlab that wrote it, or a newer one."
        )

    @classmethod
    def no_quarter(cls, quarter: str, have: Collection[str]) -> RegistryError:
        """No experiment started in the quarter that is asked for."""
        return cls(
            f"no experiment on record started in {quarter!r}; the registry has {sorted(have)}."
        )

    @classmethod
    def refused_query(cls, problem: str) -> RegistryError:
        """DuckDB does not take the condition."""
        return cls(f"the registry could not be asked: {problem}.")

    @classmethod
    def sums_need(cls, what: str, have: Collection[str]) -> RegistryError:
        """A table of sums lacks a column."""
        return cls(
            f"sums need column {what!r}; the table has {sorted(have)}. Map it with "
            f"--columns {what}=YOURS."
        )

    @classmethod
    def bad_sums(cls, rows: int, example: str, why: str) -> RegistryError:
        """Rows of sums that no data have."""
        return cls(f"{rows} rows of sums, such as {example!r}, have {why}; correct them.")

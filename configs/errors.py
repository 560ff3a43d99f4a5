"""Every error that a person meets, as one tree. The command line turns each into one message and exit status 2.

BurnishError
├── RecipeError            a recipe that can't be read, or that says something not allowed
├── DataError              records that can't be loaded, mapped or split
├── HubError               a model or dataset that a hub doesn't give
├── MetricFailed           a metric of the user's own raised an error or returned no score
├── BaseModelError         a base model that is missing, incomplete, unsafe or of the wrong kind
├── ValidationStopped      a rule with `on_failure: stop` failed
├── SearchFailed           no trial of a study finished
├── StudyError             a study or a trial that isn't there, or can't be stopped
├── RegistryError          a model version or an alias that isn't there, or may not move
├── StorageError           a full disk, a read-only home, a damaged file of our own
├── ServerError            MLflow, Prefect or a database that isn't there, is locked or of another schema
├── LeaseHeld              another process works on this recipe
├── LeaseLost              the connection that held the lease ended, and another process may have it by now
├── JobFailed              a worker's job raised an error           (tasks.models.worker)
└── WorkerDied             a worker ended before its job was done   (tasks.models.worker)
"""


class BurnishError(Exception):
    """What failed, what was found, what is allowed, what to do: one message for a person."""


class RecipeError(BurnishError):
    """A recipe can't be read or says something that is not allowed."""


class DataError(BurnishError):
    """Records can't be loaded, mapped or split."""


class HubError(BurnishError):
    """A hub doesn't have a model or dataset, doesn't give it, or isn't there."""


class MetricFailed(BurnishError):
    """A metric of the user's own raised an error, or returned no number between 0 and 1; names the record."""


class BaseModelError(BurnishError):
    """A base model is missing, incomplete, unsafe or of the wrong kind."""


class ValidationStopped(BurnishError):
    """A rule with `on_failure: stop` failed; names suite, column, rule, count and row ids, never values."""


class SearchFailed(BurnishError):
    """No trial of a study finished; carries the reasons of the failed ones."""


class StudyError(BurnishError):
    """A study or a trial isn't there, or can't be stopped."""


class RegistryError(BurnishError):
    """A model version or an alias isn't there, or may not move."""


class StorageError(BurnishError):
    """A file of our own can't be written or read: full disk, read-only home, damaged content."""


class ServerError(BurnishError):
    """MLflow, Prefect or a database isn't there, is locked, or is of another schema."""


class LeaseHeld(BurnishError):
    """Another process works on this recipe."""


class LeaseLost(BurnishError):
    """A lock was held through a connection that ended, and can't be shown to be still ours."""

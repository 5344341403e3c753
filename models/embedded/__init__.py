"""The embedded PostgreSQL: the wheel's binaries, started, shared and stopped by us.

`sharing` is where to begin: who may use the cluster and who stops it.
"""

from models.embedded.server import EmbeddedPostgresError
from models.embedded.sharing import EmbeddedPostgres
from models.embedded.throw_away import ThrowAwayPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "ThrowAwayPostgres"]

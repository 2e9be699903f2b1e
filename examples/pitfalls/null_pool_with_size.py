"""Give no pool sizes to `NullPool`

`NullPool` is for processes behind PgBouncer and for tests with several event loops. It refuses
`pool_size`, `max_overflow` and `pool_timeout`. `pool_pre_ping` passes and is of no use: each
connection is new. `PoolSettings` knows that, and prepares nothing by name, either.
"""

from sqlalchemy import NullPool, create_engine

from ..database import PoolSettings, create_sync_engine
from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(TypeError, "Invalid argument(s) 'pool_size'")
SOURCE = (
    "Switching Pool Implementations",
    "https://docs.sqlalchemy.org/en/21/core/pooling.html#switching-pool-implementations",
)


def broken(url: str) -> object:
    return create_engine(url, pool_size=5, poolclass=NullPool)


def fixed(url: str) -> object:
    create_sync_engine(url, pool=PoolSettings(external=True))
    return None

"""Join to `table_valued()`; `column_valued()` is a column

It can be selected; FROM and an outer join want a table.
"""

from sqlalchemy import func, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from ..models import Ticket
from ._symptom import Raises

FAMILY = "queries"
SYMPTOM = Raises(ArgumentError, "FROM expression, such as a Table or alias() object expected")
SOURCE = (
    "Table-Valued Functions",
    "https://docs.sqlalchemy.org/en/21/tutorial/data_select.html#table-valued-functions",
)


def broken(session: Session) -> object:
    number = func.generate_series(1, 3).column_valued("number")
    query = select(number, Ticket.id).select_from(number).outerjoin(Ticket, Ticket.id == number)
    return session.execute(query).all()


def fixed(session: Session) -> object:
    series = func.generate_series(1, 3).table_valued("number").render_derived()
    number = series.c.number
    query = select(number, Ticket.id).select_from(series).outerjoin(Ticket, Ticket.id == number)
    return session.execute(query).all()

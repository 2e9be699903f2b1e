"""Override what a validator calls, not the validator

Where a subclass has a validator by the same name, one of the two runs: the parent's in SQLAlchemy
2.0, the child's in 2.1. Neither says so.
"""

from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, validates

from ._symptom import Returns

FAMILY = "models"
SYMPTOM = Returns(wrong=False, right=True, meaning="whether both validators ran")
SOURCE = (
    "Simple Validators",
    "https://docs.sqlalchemy.org/en/21/orm/mapped_attributes.html#simple-validators",
)


def broken(_session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

        @validates("title")
        def clean(self, _name: str, title: str) -> str:
            return title.strip()

    class Incident(Ticket):
        @validates("title")
        def clean(self, _name: str, title: str) -> str:
            return title.upper()

    return Incident(title=" fire ").title == "FIRE"


def fixed(_session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

        @validates("title")
        def set_title(self, _name: str, title: str) -> str:
            return self.clean(title)

        def clean(self, title: str) -> str:
            return title.strip()

    class Incident(Ticket):
        def clean(self, title: str) -> str:
            return super().clean(title).upper()

    return Incident(title=" fire ").title == "FIRE"

"""What the brake on healing remembers, when hosts were booted, and strays that an operator can name.

Revision: 0002
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns only; strays that are listed already get their ids here."""
    op.add_column("zone", sa.Column("brake", sa.Text(), nullable=False, server_default=""))
    op.add_column("zone", sa.Column("brake_why", sa.Text(), nullable=False, server_default=""))
    op.add_column("host", sa.Column("booted", sa.Double(), nullable=True))
    op.add_column("stray", sa.Column("uuid", sa.String(length=36), nullable=True))
    op.add_column("stray", sa.Column("doomed", sa.Boolean(), nullable=False, server_default=sa.false()))
    strays = sa.table("stray", sa.column("id", sa.BigInteger()), sa.column("uuid", sa.String()))
    connection = op.get_bind()
    for (id_,) in connection.execute(sa.select(strays.c.id)).all():
        connection.execute(sa.update(strays).where(strays.c.id == id_).values(uuid=str(uuid.uuid4())))
    with op.batch_alter_table("stray") as batch:
        batch.alter_column("uuid", existing_type=sa.String(length=36), nullable=False)
        batch.create_unique_constraint("uq_stray_uuid", ["uuid"])

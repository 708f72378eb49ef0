use daybook_events::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// `timestamptz` and `timestamptz[]`, fixed in Postgres's catalog.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);
/// From 1970-01-01 to 2000-01-01, where Postgres begins to count.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A timestamp as Postgres sends it: microseconds since 2000, so nothing is rounded on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub Timestamp);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.micros().checked_sub(POSTGRES_EPOCH_MICROS).ok_or("a moment before all time")?;
        buffer.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Moment {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(Self(Timestamp(micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or("a moment after all time")?)))
    }
}

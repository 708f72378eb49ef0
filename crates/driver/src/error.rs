//! Why a part ends otherwise than by draining.

use daybook_log::Witness;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{part}: the database is behind the book: partition {partition} published number {published} and the database knows only \
         {stored}; it was restored to an earlier time. Bring it back with: daybook recover {part}"
    )]
    DatabaseBehind { part: String, partition: u16, stored: Witness, published: Witness },
    #[error("{part}: {source}")]
    Log { part: String, source: daybook_log::Error },
    #[error("{part}: {source}")]
    Store { part: String, source: daybook_store::Error },
    #[error("{part}: {source}")]
    Recovery { part: String, source: daybook_engine::RecoveryError },
    #[error(
        "{part}: partition {partition} was written while it was recovered; end every process that runs the part, and try again"
    )]
    MovedMeanwhile { part: String, partition: u16 },
    #[error(
        "{part}: partition {partition} is too far behind: more than {max} bytes would have to be taken in; restore a newer copy of \
         the database"
    )]
    TooFarBehind { part: String, partition: u16, max: usize },
    #[error("{part}: declares effects, but nobody performs them; give the part a performer")]
    NoPerformer { part: String },
    #[error(transparent)]
    Metrics(#[from] daybook_service::metrics::MetricsError),
}

impl Error {
    pub(crate) fn log(part: &str) -> impl Fn(daybook_log::Error) -> Self {
        move |source| Self::Log { part: part.to_owned(), source }
    }

    pub(crate) fn store(part: &str) -> impl Fn(daybook_store::Error) -> Self {
        move |source| Self::Store { part: part.to_owned(), source }
    }

    /// Whether the same may succeed later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Log { source, .. } => source.is_passing(),
            Self::Store { source, .. } => {
                matches!(source, daybook_store::Error::Database { .. } | daybook_store::Error::Timeout { .. })
            }
            Self::DatabaseBehind { .. }
            | Self::Recovery { .. }
            | Self::MovedMeanwhile { .. }
            | Self::TooFarBehind { .. }
            | Self::NoPerformer { .. }
            | Self::Metrics(_) => false,
        }
    }
}

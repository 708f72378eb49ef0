use std::sync::Arc;

use daybook_engine::Spec;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Semaphore;

use crate::error::Doing;
use crate::names::{Names, read_schema, vault_schema};
use crate::settings::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
use crate::{Error, Identity, Keys, Operator, PartStore, Reads, Seen, Settings, StartFrom, migrate};

/// The database of one process: what all parts share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) settings: Settings,
    pub(crate) pool: PgPool,
    /// What parts may open beside their own connections.
    pub(crate) spare: Arc<Semaphore>,
}

impl Store {
    /// Connects and makes what all parts share: the schema of public views, the reading role (where that is
    /// permitted), the table of data keys.
    ///
    /// # Errors
    /// [`Error::Url`] and [`Error::Name`] for settings that cannot be right; the rest is worth another try.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        let (read, vault) = (read_schema(&settings.schema_prefix)?, vault_schema(&settings.schema_prefix)?);
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(settings.shared_options()?);
        let mut transaction = pool.begin().await.doing("connecting")?;
        migrate::lock(&mut transaction).await?;
        migrate::shared(&mut transaction, &read, &vault).await?;
        transaction.commit().await.doing("making what parts share")?;
        let spare = usize::try_from(settings.spare_connections).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self { settings, pool, spare: Arc::new(Semaphore::new(spare)) })
    }

    /// Makes the tables of a part or brings them up to date, after comparing the log with the one that the part was
    /// born with. `from` matters only at birth, and only when the topics were written before.
    ///
    /// # Errors
    /// [`Error::Refused`]: the process must not go on; the text names the cure.
    pub async fn prepare(&self, spec: &Spec, seen: &Seen, from: Option<StartFrom>) -> Result<PartStore, Error> {
        let names = self.names(spec.name)?;
        let work = async {
            let mut transaction = self.pool.begin().await.doing("connecting")?;
            migrate::lock(&mut transaction).await?;
            let generation = migrate::part(&mut transaction, &names, spec, seen, from).await?;
            transaction.commit().await.doing("preparing a part")?;
            Ok(generation)
        };
        let generation = answered("preparing a part", work).await?;
        PartStore::new(self, names, generation, spec)
    }

    /// The log that the part was born with; `None` before its birth.
    ///
    /// # Errors
    /// [`Error::Refused`] when the tables are of another version.
    pub async fn identity(&self, part: &str) -> Result<Option<Identity>, Error> {
        let names = self.names(part)?;
        let mut connection = self.pool.acquire().await.doing("connecting")?;
        migrate::stored_identity(&mut connection, &names).await
    }

    /// Whether the database answers, for readiness.
    ///
    /// # Errors
    /// When it does not, in time.
    pub async fn ping(&self) -> Result<(), Error> {
        let ask = async { sqlx::query("SELECT 1").execute(&self.pool).await.doing("asking for a sign of life") };
        tokio::time::timeout(CONNECT_TIMEOUT, ask).await.map_err(|_| Error::Timeout {
            doing: "asking for a sign of life",
            limit_ms: CONNECT_TIMEOUT.as_millis(),
        })??;
        Ok(())
    }

    /// What an operator sees of a part.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn operator(&self, part: &str) -> Result<Operator, Error> {
        Ok(Operator::new(self.pool.clone(), self.names(part)?))
    }

    /// The data keys of persons.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn keys(&self) -> Result<Keys, Error> {
        Ok(Keys::new(self.pool.clone(), &vault_schema(&self.settings.schema_prefix)?))
    }

    /// The public views.
    ///
    /// # Errors
    /// As [`Reads::connect`].
    pub async fn reads(&self) -> Result<Reads, Error> {
        Reads::connect(&self.settings).await
    }

    fn names(&self, part: &str) -> Result<Names, Error> {
        Names::new(&self.settings.schema_prefix, part)
    }
}

/// Bounds `work`, whatever becomes of the connection that it uses.
pub(crate) async fn answered<T>(doing: &'static str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(ANSWER_TIMEOUT, work)
        .await
        .map_err(|_| Error::Timeout { doing, limit_ms: ANSWER_TIMEOUT.as_millis() })?
}

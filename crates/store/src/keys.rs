use std::sync::Arc;

use daybook_vault::{KeyFuture, KeyStore, KeyStoreError, StoredKey, WrappedKey};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::Error;
use crate::error::Doing;
use crate::store::answered;

/// The data keys of persons, in `vault.data_key`. A row is never deleted: one without a key is a tombstone.
#[derive(Clone, Debug)]
pub struct Keys {
    pool: PgPool,
    sql: Arc<KeySql>,
}

#[derive(Debug)]
struct KeySql {
    load: String,
    insert: String,
    tombstone: String,
    destroy: String,
    replace: String,
    not_wrapped_by: String,
}

impl Keys {
    pub(crate) fn new(pool: PgPool, schema: &str) -> Self {
        let table = format!("{schema}.data_key");
        let sql = KeySql {
            load: format!("SELECT master_id, wrapped FROM {table} WHERE owner = $1"),
            insert: format!(
                "INSERT INTO {table} (owner, master_id, wrapped) VALUES ($1, $2, $3) ON CONFLICT (owner) DO NOTHING"
            ),
            tombstone: format!(
                "INSERT INTO {table} (owner, erased_at) VALUES ($1, clock_timestamp()) ON CONFLICT (owner) DO NOTHING"
            ),
            destroy: format!(
                "UPDATE {table} SET wrapped = NULL, master_id = NULL, erased_at = clock_timestamp()
                   WHERE owner = $1 AND wrapped IS NOT NULL"
            ),
            replace: format!(
                "UPDATE {table} SET master_id = $4, wrapped = $5 WHERE owner = $1 AND master_id = $2 AND wrapped = $3"
            ),
            not_wrapped_by: format!(
                "SELECT owner FROM {table} WHERE wrapped IS NOT NULL AND master_id <> $1 ORDER BY owner LIMIT $2"
            ),
        };
        Self { pool, sql: Arc::new(sql) }
    }

    async fn stored(&self, owner: Uuid) -> Result<StoredKey, Error> {
        let found: Option<(Option<String>, Option<Vec<u8>>)> = sqlx::query_as(AssertSqlSafe(self.sql.load.as_str()))
            .bind(owner)
            .fetch_optional(&self.pool)
            .await
            .doing("reading a data key")?;
        Ok(match found {
            None => StoredKey::Absent,
            Some((Some(master_key), Some(bytes))) => StoredKey::Present(WrappedKey { master_key, bytes }),
            Some(_) => StoredKey::Erased,
        })
    }

    async fn insert(&self, owner: Uuid, key: WrappedKey) -> Result<StoredKey, Error> {
        sqlx::query(AssertSqlSafe(self.sql.insert.as_str()))
            .bind(owner)
            .bind(key.master_key)
            .bind(key.bytes)
            .execute(&self.pool)
            .await
            .doing("storing a data key")?;
        self.stored(owner).await
    }

    /// In two steps, each of them atomic: after the first there is a row for sure, and rows are never deleted.
    async fn destroy(&self, owner: Uuid) -> Result<bool, Error> {
        let doing = "destroying a data key";
        sqlx::query(AssertSqlSafe(self.sql.tombstone.as_str())).bind(owner).execute(&self.pool).await.doing(doing)?;
        let destroyed =
            sqlx::query(AssertSqlSafe(self.sql.destroy.as_str())).bind(owner).execute(&self.pool).await.doing(doing)?;
        Ok(destroyed.rows_affected() > 0)
    }

    async fn put_in_place(&self, owner: Uuid, old: WrappedKey, new: WrappedKey) -> Result<bool, Error> {
        let replaced = sqlx::query(AssertSqlSafe(self.sql.replace.as_str()))
            .bind(owner)
            .bind(old.master_key)
            .bind(old.bytes)
            .bind(new.master_key)
            .bind(new.bytes)
            .execute(&self.pool)
            .await
            .doing("rewrapping a data key")?;
        Ok(replaced.rows_affected() > 0)
    }

    async fn owners_not_wrapped_by(&self, master_key: String, limit: usize) -> Result<Vec<Uuid>, Error> {
        sqlx::query_scalar(AssertSqlSafe(self.sql.not_wrapped_by.as_str()))
            .bind(master_key)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .doing("looking for data keys to rewrap")
    }
}

fn asked<'a, T: Send + 'a>(work: impl Future<Output = Result<T, Error>> + Send + 'a) -> KeyFuture<'a, T> {
    Box::pin(
        async move { answered("asking for data keys", work).await.map_err(|error| KeyStoreError(Box::new(error))) },
    )
}

impl KeyStore for Keys {
    fn load(&self, owner: Uuid) -> KeyFuture<'_, StoredKey> {
        asked(self.stored(owner))
    }

    fn insert_if_absent(&self, owner: Uuid, key: WrappedKey) -> KeyFuture<'_, StoredKey> {
        asked(self.insert(owner, key))
    }

    fn erase(&self, owner: Uuid) -> KeyFuture<'_, bool> {
        asked(self.destroy(owner))
    }

    fn replace(&self, owner: Uuid, old: WrappedKey, new: WrappedKey) -> KeyFuture<'_, bool> {
        asked(self.put_in_place(owner, old, new))
    }

    fn not_wrapped_by(&self, master_key: &str, limit: usize) -> KeyFuture<'_, Vec<Uuid>> {
        asked(self.owners_not_wrapped_by(master_key.to_owned(), limit))
    }
}

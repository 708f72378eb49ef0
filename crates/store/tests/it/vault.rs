//! Data keys: one per person, for ever, and none after an erasure.

use anyhow::Result;
use daybook_vault::{KeyStore, StoredKey, WrappedKey};
use sqlx::AssertSqlSafe;

use crate::bench::{Bench, id};

fn key(master_key: &str, byte: u8) -> WrappedKey {
    WrappedKey { master_key: master_key.to_owned(), bytes: vec![byte; 60] }
}

#[tokio::test]
async fn of_many_first_keys_all_get_the_one_that_won() -> Result<()> {
    let bench = Bench::new().await?;
    let keys = bench.store.keys()?;
    assert_eq!(keys.load(id(1)).await?, StoredKey::Absent);
    let inserts = (0..8).map(|byte| keys.insert_if_absent(id(1), key("m1", byte)));
    let stored = futures::future::try_join_all(inserts).await?;
    assert!(stored.iter().all(|each| *each == stored[0] && matches!(each, StoredKey::Present(_))));
    assert_eq!(keys.load(id(1)).await?, stored[0]);
    Ok(())
}

#[tokio::test]
async fn an_erased_key_is_gone_from_the_table_and_stays_gone() -> Result<()> {
    let bench = Bench::new().await?;
    let keys = bench.store.keys()?;
    keys.insert_if_absent(id(1), key("m1", 7)).await?;
    assert!(keys.erase(id(1)).await?);
    assert!(!keys.erase(id(1)).await?, "once");
    assert!(!keys.erase(id(2)).await?, "there was none");
    for owner in [id(1), id(2)] {
        assert_eq!(keys.insert_if_absent(owner, key("m1", 8)).await?, StoredKey::Erased);
        assert!(!keys.replace(owner, key("m1", 7), key("m2", 9)).await?);
        assert_eq!(keys.load(owner).await?, StoredKey::Erased);
    }
    let sql = format!(
        "SELECT count(*) FROM {}vault.data_key WHERE wrapped IS NOT NULL OR master_id IS NOT NULL",
        bench.prefix
    );
    let left: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut bench.beside().await?).await?;
    assert_eq!(left, 0);
    Ok(())
}

#[tokio::test]
async fn keys_are_rewrapped_only_from_what_stood_there() -> Result<()> {
    let bench = Bench::new().await?;
    let keys = bench.store.keys()?;
    for owner in 1..=3 {
        keys.insert_if_absent(id(owner), key("m1", 7)).await?;
    }
    keys.erase(id(3)).await?;
    assert_eq!(keys.not_wrapped_by("m2", 10).await?, [id(1), id(2)]);
    assert_eq!(keys.not_wrapped_by("m2", 1).await?, [id(1)]);
    assert!(!keys.replace(id(1), key("m1", 8), key("m2", 9)).await?);
    assert!(keys.replace(id(1), key("m1", 7), key("m2", 9)).await?);
    assert_eq!(keys.load(id(1)).await?, StoredKey::Present(key("m2", 9)));
    assert_eq!(keys.not_wrapped_by("m2", 10).await?, [id(2)]);
    Ok(())
}

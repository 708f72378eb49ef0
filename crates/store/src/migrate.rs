//! Makes the schemas of a part, once, or brings them to the version of this program.

use daybook_engine::{PARTITIONS, PartKind, Spec, Table};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::error::Doing;
use crate::identity::{Beginning, beginnings, check_identity, check_partitions};
use crate::names::{Names, quoted};
use crate::{Error, Identity, Refusal, Seen, StartFrom, function, ring};

/// Version of the tables that this program makes and expects.
pub const SCHEMA_VERSION: i32 = 2;

/// Nobody else changes schemas of this platform while this is held; the number is our own.
const MIGRATION_LOCK: i64 = 0x0064_6179_626f_6f6b;

/// The only generation as long as none was rebuilt.
const FIRST_GENERATION: i32 = 1;

/// Of tables whose rows are written again and again: free space keeps a row's next version on its page, and what is dead is removed when it
/// is a fiftieth, for with Postgres's own fifth there is more of it the more rows are kept.
const UPDATED: &str = "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000";

/// The role of read routes.
pub(crate) const READ_ROLE: &str = "daybook_read";

/// Waits until nobody else migrates; until the end of the transaction nobody else does.
pub(crate) async fn lock(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(connection)
        .await
        .doing("waiting for other migrations")?;
    Ok(())
}

pub(crate) async fn run(connection: &mut PgConnection, sql: String, doing: &'static str) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.doing(doing)?;
    Ok(())
}

/// What all parts share: the schema of public views, the role that may read them, the keys of the vault.
pub(crate) async fn shared(connection: &mut PgConnection, read: &str, vault: &str) -> Result<(), Error> {
    // The role belongs to the whole server: another database may be making it just now, and we may not be allowed to.
    let role = format!(
        "DO $role$ BEGIN
           IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{READ_ROLE}') THEN
             CREATE ROLE {READ_ROLE} NOLOGIN;
           END IF;
         EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
           RAISE DEBUG 'role {READ_ROLE} was not made here';
         END $role$;"
    );
    run(connection, role, "making the reading role").await?;
    let schemas = format!(
        "CREATE SCHEMA IF NOT EXISTS {read};
         CREATE SCHEMA IF NOT EXISTS {vault};
         CREATE TABLE IF NOT EXISTS {vault}.data_key (
           owner     uuid PRIMARY KEY,
           master_id text,
           wrapped   bytea,
           erased_at timestamptz,
           CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL) AND (wrapped IS NULL) = (master_id IS NULL))
         );
         CREATE INDEX IF NOT EXISTS data_key_master ON {vault}.data_key (master_id) WHERE wrapped IS NOT NULL;"
    );
    run(connection, schemas, "making the shared schemas").await
}

/// Brings one part up to date in the transaction of `connection`; answers the live generation.
pub(crate) async fn part(
    connection: &mut PgConnection,
    names: &Names,
    spec: &Spec,
    seen: &Seen,
    from: Option<StartFrom>,
) -> Result<i32, Error> {
    check_partitions(&names.part, seen)?;
    match version(connection, names).await? {
        None => create(connection, names, spec).await?,
        Some(SCHEMA_VERSION) => (),
        Some(1) => {
            run(connection, filled(include_str!("sql/to_2.sql"), names), "bringing the tables to version 2").await?
        }
        Some(found) => return Err(wrong_version(names, found).into()),
    }
    let generation = match live(connection, names).await? {
        Some((identity, generation)) => {
            check_identity(&names.part, &identity, seen)?;
            generation
        }
        None => {
            bear(connection, names, seen, from).await?;
            FIRST_GENERATION
        }
    };
    check_tables(connection, names, generation, spec).await?;
    let function = function::create_sql(names, generation, spec)?;
    run(connection, function, "making the commit function").await?;
    publish(connection, names, generation, spec).await?;
    Ok(generation)
}

/// SQL with the names of the part's schemas put in.
fn filled(sql: &str, names: &Names) -> String {
    sql.replace("{control}", &names.control).replace("{derived}", &names.derived(FIRST_GENERATION))
}

/// A version that no step leads from.
fn wrong_version(names: &Names, found: i32) -> Refusal {
    let (part, known) = (names.part.clone(), SCHEMA_VERSION);
    if found > known {
        Refusal::NewerDatabase { part, found, known }
    } else {
        Refusal::OlderDatabase { part, found, known }
    }
}

async fn version(connection: &mut PgConnection, names: &Names) -> Result<Option<i32>, Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(&names.control)
        .fetch_one(&mut *connection)
        .await
        .doing("looking for the schema")?;
    if !exists {
        return Ok(None);
    }
    let sql = format!("SELECT coalesce(max(version), 0) FROM {}.schema_version", names.control);
    let version: i32 =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.doing("reading the schema version")?;
    Ok(Some(version))
}

async fn create(connection: &mut PgConnection, names: &Names, spec: &Spec) -> Result<(), Error> {
    let (control, derived) = (&names.control, names.derived(FIRST_GENERATION));
    let mut sql = filled(include_str!("sql/control.sql"), names);
    sql.push_str(&ring::OUTBOX.create_sql(control));
    sql.push_str(&ring::APPLIED.create_sql(control));
    sql.push_str(&filled(include_str!("sql/derived.sql"), names).replace("{updated}", UPDATED));
    if spec.kind == PartKind::Saga {
        sql.push_str(&format!(
            "CREATE INDEX state_open ON {derived}.state (status, key)
               WHERE status NOT IN ('done', 'compensated', 'failed', 'canceled');\n"
        ));
    }
    for table in &spec.tables {
        sql.push_str(&table_sql(&derived, table)?);
    }
    sql.push_str(&format!("INSERT INTO {control}.schema_version (version) VALUES ({SCHEMA_VERSION});"));
    run(connection, sql, "making the tables of a part").await?;

    let sql = format!("INSERT INTO {control}.generation (number, tables) VALUES ($1, $2)");
    sqlx::query(AssertSqlSafe(sql))
        .bind(FIRST_GENERATION)
        .bind(declaration(&spec.tables))
        .execute(connection)
        .await
        .doing("noting the declared tables")?;
    Ok(())
}

fn table_sql(derived: &str, table: &Table) -> Result<String, Error> {
    let name = quoted(table.name)?;
    let mut columns = Vec::new();
    let mut key = Vec::new();
    for (place, column) in table.columns.iter().enumerate() {
        let column_name = quoted(column.name)?;
        columns.push(format!("{column_name} {}", column.sql_type));
        if place < table.key_columns {
            key.push(column_name);
        }
    }
    columns.push(format!("PRIMARY KEY ({})", key.join(", ")));
    columns.extend(table.checks.iter().map(|condition| format!("CHECK ({condition})")));
    let mut sql = format!("CREATE TABLE {derived}.{name} ({}) WITH ({UPDATED});\n", columns.join(", "));
    for index in &table.indexes {
        sql.push_str(&format!("CREATE INDEX ON {derived}.{name} ({index});\n"));
    }
    Ok(sql)
}

/// The declaration of the tables, to be compared with that of the next start.
fn declaration(tables: &[Table]) -> Value {
    let column = |column: &daybook_engine::Column| json!([column.name, column.sql_type, format!("{:?}", column.fold)]);
    let table = |table: &Table| {
        json!({
            "name": table.name,
            "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
            "key_columns": table.key_columns,
            "indexes": table.indexes,
            "checks": table.checks,
        })
    };
    tables.iter().map(table).collect()
}

async fn check_tables(connection: &mut PgConnection, names: &Names, generation: i32, spec: &Spec) -> Result<(), Error> {
    let sql = format!("SELECT tables FROM {}.generation WHERE number = $1", names.control);
    let stored: Value = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(generation)
        .fetch_one(connection)
        .await
        .doing("reading the declared tables")?;
    if stored == declaration(&spec.tables) {
        Ok(())
    } else {
        Err(Refusal::TablesChanged { part: names.part.clone() }.into())
    }
}

/// Identity and live generation, which all partition rows agree on; `None` where there are no rows.
async fn live(connection: &mut PgConnection, names: &Names) -> Result<Option<(Identity, i32)>, Error> {
    let sql = format!(
        "SELECT cluster_id, data_topic_id, control_topic_id, generation FROM {}.partition ORDER BY part",
        names.control
    );
    let rows: Vec<(String, String, String, i32)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await.doing("reading the partition rows")?;
    if !rows.is_empty() && rows.len() != usize::from(PARTITIONS) {
        return Err(Refusal::PartitionRows { part: names.part.clone(), found: rows.len() }.into());
    }
    let first = rows.into_iter().next();
    Ok(first.map(|(cluster_id, data_topic_id, control_topic_id, generation)| {
        (Identity { cluster_id, data_topic_id, control_topic_id }, generation)
    }))
}

/// The part as [`crate::Store::identity`] answers it.
pub(crate) async fn stored_identity(connection: &mut PgConnection, names: &Names) -> Result<Option<Identity>, Error> {
    match version(connection, names).await? {
        None => Ok(None),
        Some(1..=SCHEMA_VERSION) => Ok(live(connection, names).await?.map(|(identity, _)| identity)),
        Some(found) => Err(wrong_version(names, found).into()),
    }
}

/// Makes the partition rows.
///
/// A row that is made again for a log that knows an earlier one must have a higher incarnation, or receivers would
/// take its numbers for old ones. Seconds since 1970 rise by themselves.
async fn bear(connection: &mut PgConnection, names: &Names, seen: &Seen, from: Option<StartFrom>) -> Result<(), Error> {
    let beginnings = beginnings(&names.part, seen, from)?;
    let column = |pick: fn(&Beginning) -> i64| beginnings.iter().map(pick).collect::<Vec<i64>>();
    let accepts_first: Vec<bool> = beginnings.iter().map(|beginning| beginning.accepts_first).collect();
    let identity = seen.identity();
    let sql = format!(
        "INSERT INTO {}.partition
           (part, next_data, next_control, accepts_first, incarnation, cluster_id, data_topic_id, control_topic_id, generation)
         SELECT born.part - 1, born.next_data, born.next_control, born.accepts_first,
                extract(epoch FROM clock_timestamp())::bigint, $4, $5, $6, $7
           FROM unnest($1::bigint[], $2::bigint[], $3::boolean[])
             WITH ORDINALITY AS born (next_data, next_control, accepts_first, part)",
        names.control
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(column(|beginning| beginning.next_data))
        .bind(column(|beginning| beginning.next_control))
        .bind(accepts_first)
        .bind(identity.cluster_id)
        .bind(identity.data_topic_id)
        .bind(identity.control_topic_id)
        .bind(FIRST_GENERATION)
        .execute(connection)
        .await
        .doing("making the partition rows")?;
    Ok(())
}

/// Points the public views at the live generation.
async fn publish(connection: &mut PgConnection, names: &Names, generation: i32, spec: &Spec) -> Result<(), Error> {
    let (read, derived) = (&names.read, names.derived(generation));
    let offsets = names.offsets_view();
    let mut sql = format!(
        "CREATE OR REPLACE VIEW {read}.{offsets} AS SELECT part, next_data, next_control FROM {}.partition;\n",
        names.control
    );
    for table in &spec.tables {
        check_owner(connection, names, table.name).await?;
        let name = quoted(table.name)?;
        sql.push_str(&format!("CREATE OR REPLACE VIEW {read}.{name} AS SELECT * FROM {derived}.{name};\n"));
    }
    sql.push_str(&format!(
        "DO $grant$ BEGIN
           IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{READ_ROLE}') THEN
             GRANT USAGE ON SCHEMA {read} TO {READ_ROLE};
             GRANT SELECT ON ALL TABLES IN SCHEMA {read} TO {READ_ROLE};
           END IF;
         END $grant$;"
    ));
    run(connection, sql, "publishing the views").await
}

/// Two parts with tables of one name would take the view from each other, silently.
async fn check_owner(connection: &mut PgConnection, names: &Names, table: &str) -> Result<(), Error> {
    let sources: Vec<String> = sqlx::query_scalar(
        "SELECT table_schema::text FROM information_schema.view_table_usage WHERE view_schema = $1 AND view_name = $2",
    )
    .bind(&names.read)
    .bind(table)
    .fetch_all(connection)
    .await
    .doing("looking for views of that name")?;
    let own = format!("{}_g", names.control);
    match sources.into_iter().find(|schema| !schema.starts_with(&own)) {
        Some(owner) => Err(Refusal::TableTaken { part: names.part.clone(), table: table.to_owned(), owner }.into()),
        None => Ok(()),
    }
}

//! Everything that a batch can hold is there afterwards, as it was put in.

use anyhow::Result;
use bytes::Bytes;
use daybook_engine::{
    Applied, BlockedKey, Commit, DueAsk, DueRow, Held, HeldAsk, HistoryRow, Intent, IntentStatus, Load, OutboxRow,
    Parked, PendingReply, RowKey, StateRow, Thread,
};
use daybook_events::{ReplyTo, Timestamp};

use crate::bench::{Bench, id, next, of_partition, raw, state};

const DUE: Timestamp = Timestamp(1_767_225_600_123_457);

fn intent() -> Intent {
    let reply = PendingReply {
        to: ReplyTo { topic: "operations.operation.inbox.v1".into(), key: id(4) },
        command_id: id(5),
        command: "daybook.billing.AuthorizePayment".to_owned(),
    };
    Intent {
        id: id(1),
        partition: 3,
        key: id(2),
        request: b"\0sealed".to_vec(),
        reply: Some(reply),
        thread: Thread { correlation_id: id(3), ..Thread::default() },
        created_at: DUE,
        status: IntentStatus::NeedsAttention,
        attempts: 7,
        code: Some("provider-silent".to_owned()),
    }
}

fn parked(number: u128, key: Option<&[u8]>, blocks: bool) -> Parked {
    Parked {
        id: id(number),
        partition: 3,
        raw: raw(11, key),
        code: "panic".to_owned(),
        detail: "decide".to_owned(),
        attempts: 1,
        parked_at: DUE,
        blocks,
    }
}

#[tokio::test]
async fn a_claim_finds_all_that_is_open() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(3).await?.value;
    assert_eq!((claimed.version, claimed.next_data, claimed.out_seq, claimed.held_next), (1, 0, 0, 1));
    assert!(claimed.incarnation > 1_600_000_000, "above the incarnation of any row made earlier");

    let outbox =
        |first_seq, last_seq| OutboxRow { partition: 3, first_seq, last_seq, messages: Bytes::from_static(b"\0\x01") };
    let held = |number, key| Held { partition: 3, number, raw: raw(20, key) };
    let mut partition = next(&claimed);
    partition.next_data = 21;
    partition.next_control = 2;
    partition.out_seq = 9;
    partition.published_seq = 4;
    partition.held_next = 4;
    partition.marks = Some(Bytes::from_static(b"marks"));
    partition.last_numbers = Some(Bytes::from_static(b"numbers"));
    let commit = Commit {
        rows: vec![state(3, RowKey::entity(id(2)), 1, Some(DUE))],
        outbox: vec![outbox(1, 4), outbox(5, 9)],
        intents_put: vec![intent()],
        held_put: vec![held(1, Some(b"k")), held(2, Some(b"k")), held(3, None)],
        parked_put: vec![
            parked(6, Some(b"k"), true),
            parked(7, Some(b"other"), true),
            parked(8, Some(b"beside"), false),
        ],
        ..of_partition(partition)
    };
    let committed = part.commit(&commit).await.expect("committed");

    let answer = part.claim(3).await?;
    assert!(answer.at >= committed.at);
    let found = answer.value;
    assert_eq!(found.version, claimed.version + 2);
    assert_eq!((found.next_data, found.next_control), (21, 2));
    assert_eq!((found.out_seq, found.published_seq, found.held_next), (9, 4, 4));
    assert_eq!((&found.marks[..], &found.last_numbers[..]), (&b"marks"[..], &b"numbers"[..]));
    assert_eq!(found.outbox, [outbox(5, 9)], "only what was not acknowledged");
    assert_eq!(found.intents, [intent()]);
    assert_eq!(found.next_due, Some(DUE));
    let blocked = |key: &'static [u8], held, parked| BlockedKey { key: Bytes::from_static(key), held, parked };
    let expected = [blocked(b"", 1, None), blocked(b"k", 2, Some(id(6))), blocked(b"other", 0, Some(id(7)))];
    assert_eq!(found.blocked, expected);
    Ok(())
}

#[tokio::test]
async fn what_is_taken_away_is_gone_and_what_is_put_again_is_replaced() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(3).await?.value;
    let (stays, goes) = (RowKey::part(id(2), id(9)), RowKey::entity(id(2)));
    let first = Commit {
        rows: vec![state(3, goes, 1, Some(DUE)), state(3, stays, 1, Some(DUE))],
        intents_put: vec![intent()],
        held_put: vec![Held { partition: 3, number: 1, raw: raw(20, Some(b"k")) }],
        parked_put: vec![parked(6, Some(b"k"), true)],
        ..of_partition(next(&claimed))
    };
    part.commit(&first).await.expect("committed");

    let claimed = part.claim(3).await?.value;
    let second = Commit {
        rows: vec![StateRow { partition: 3, key: goes, row: None }, state(3, stays, 2, None)],
        intents_gone: vec![id(1)],
        held_gone: vec![(3, 1)],
        parked_put: vec![Parked { attempts: 2, blocks: false, ..parked(6, Some(b"k"), true) }],
        ..of_partition(next(&claimed))
    };
    part.commit(&second).await.expect("committed");

    let found = part.claim(3).await?.value;
    assert!(found.intents.is_empty() && found.blocked.is_empty() && found.next_due.is_none());
    let load = Load { rows: vec![(3, goes), (3, stays)], parked: vec![id(6)], ..Load::default() };
    let loaded = part.load(&load).await.expect("loaded").value;
    assert_eq!(loaded.rows.len(), 1);
    assert_eq!((loaded.rows[0].0, loaded.rows[0].1.number), (stays, 2));
    assert_eq!(loaded.parked, [Parked { attempts: 2, blocks: false, ..parked(6, Some(b"k"), true) }]);

    let third = Commit { parked_gone: vec![id(6)], ..of_partition(next(&found)) };
    part.commit(&third).await.expect("committed");
    assert!(part.load(&load).await.expect("loaded").value.parked.is_empty());
    Ok(())
}

#[tokio::test]
async fn rows_come_back_to_the_microsecond_and_missing_ones_do_not_come() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let there = RowKey::part(id(2), id(3));
    let row = state(0, there, 5, Some(DUE));
    part.commit(&Commit { rows: vec![row.clone()], ..of_partition(next(&claimed)) }).await.expect("committed");

    let load = Load { rows: vec![(0, there), (0, RowKey::entity(id(2)))], ..Load::default() };
    let answer = part.load(&load).await.expect("loaded");
    assert_eq!(answer.value.rows, [(there, row.row.expect("a row"))]);
    assert!(answer.at > DUE);
    assert!(part.load(&Load::default()).await.expect("loaded").at >= answer.at);
    Ok(())
}

#[tokio::test]
async fn held_records_come_in_order_by_the_page_and_by_their_own_key() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let long = vec![7_u8; 20_000];
    let held = |number, key| Held { partition: 0, number, raw: raw(20, key) };
    let put = vec![held(1, Some(&long[..])), held(2, None), held(3, Some(&long[..])), held(4, Some(&long[..]))];
    part.commit(&Commit { held_put: put.clone(), ..of_partition(next(&claimed)) }).await.expect("committed");

    let ask = |key: &[u8]| HeldAsk { partition: 0, key: Bytes::copy_from_slice(key), limit: 2 };
    let load = Load { held: vec![ask(&long), ask(b"")], ..Load::default() };
    let loaded = part.load(&load).await.expect("loaded").value;
    assert_eq!(loaded.held, [put[0].clone(), put[2].clone(), put[1].clone()]);
    Ok(())
}

#[tokio::test]
async fn timers_are_paged_in_the_order_of_time_and_key() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?.value;
    let at = |micros| Timestamp(DUE.micros() + micros);
    let key = |number| RowKey::part(id(number), id(1));
    let rows = vec![
        state(0, key(1), 1, Some(at(1))),
        state(0, key(2), 1, Some(at(0))),
        state(0, key(3), 1, Some(at(1))),
        state(0, key(4), 1, Some(at(2))),
        state(0, key(5), 1, None),
        state(1, key(6), 1, Some(at(0))),
    ];
    part.commit(&Commit { rows, ..of_partition(next(&claimed)) }).await.expect("committed");

    let mut ask = DueAsk { partition: 0, until: at(1), after: None, limit: 2 };
    let mut seen = Vec::new();
    loop {
        let load = Load { due: vec![ask.clone()], ..Load::default() };
        let loaded = part.load(&load).await.expect("loaded").value;
        assert_eq!(loaded.next_due, [(0, Some(at(2)))]);
        let Some(last) = loaded.due.last() else { break };
        ask.after = Some((last.due, last.row));
        seen.extend(loaded.due);
    }
    let due = |micros, number| DueRow { partition: 0, due: at(micros), row: key(number) };
    assert_eq!(seen, [due(0, 2), due(1, 1), due(1, 3)]);
    Ok(())
}

#[tokio::test]
async fn a_deadline_that_moves_on_is_found_when_it_has_come_and_not_before() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let claimed = part.claim(0).await?;
    let in_minutes = |minutes: i64| claimed.at.plus_ms(minutes * 60_000);
    let mut partition = next(&claimed.value);
    let mut put = async |due| {
        let commit = Commit { rows: vec![state(0, RowKey::entity(id(1)), 1, due)], ..of_partition(partition.clone()) };
        part.commit(&commit).await.expect("committed");
        partition.version += 1;
    };
    let found = async |until| {
        let ask = DueAsk { partition: 0, until, after: None, limit: 2 };
        let loaded = part.load(&Load { due: vec![ask], ..Load::default() }).await.expect("loaded").value;
        let due: Vec<_> = loaded.due.into_iter().map(|row| row.due).collect();
        (due, loaded.next_due[0].1)
    };
    put(Some(in_minutes(1))).await;
    put(Some(in_minutes(20))).await;
    assert_eq!(found(in_minutes(0)).await, (vec![], Some(in_minutes(1))), "asked about too early, never too late");
    assert_eq!(found(in_minutes(2)).await, (vec![], Some(in_minutes(20))));
    assert_eq!(found(in_minutes(20)).await, (vec![in_minutes(20)], None));
    put(Some(in_minutes(3))).await;
    assert_eq!(found(in_minutes(3)).await, (vec![in_minutes(3)], None), "sooner than before");
    put(Some(in_minutes(-2))).await;
    put(Some(in_minutes(5))).await;
    assert_eq!(found(in_minutes(0)).await, (vec![], Some(in_minutes(5))), "the earlier one has passed");
    put(None).await;
    assert_eq!(found(in_minutes(60)).await, (vec![], None));
    Ok(())
}

#[tokio::test]
async fn a_command_gets_its_closing_later_and_keeps_its_hash() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let command = Applied { id: id(1), request_hash: Some([7; 32]), closing: None };
    let claimed = part.claim(0).await?.value;
    let first = Commit { applied_put: vec![command.clone()], ..of_partition(next(&claimed)) };
    part.commit(&first).await.expect("committed");
    let load = Load { applied: vec![id(1), id(2)], ..Load::default() };
    assert_eq!(part.load(&load).await.expect("loaded").value.applied, std::slice::from_ref(&command));

    // As if it had come on another day.
    let mut beside = bench.beside().await?;
    let sql = format!("UPDATE {}enrollment_saga.applied SET slot = (slot + 3) % 17", bench.prefix);
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut beside).await?;

    let closing = Some(("daybook.learning.SeatReserved".to_owned(), b"\0body".to_vec()));
    let closed = Applied { id: id(1), request_hash: None, closing: closing.clone() };
    let other = Applied { id: id(2), request_hash: None, closing: closing.clone() };
    let claimed = part.claim(0).await?.value;
    let second = Commit { applied_put: vec![closed, other.clone()], ..of_partition(next(&claimed)) };
    part.commit(&second).await.expect("committed");
    let mut loaded = part.load(&load).await.expect("loaded").value.applied;
    loaded.sort_by_key(|applied| applied.id);
    assert_eq!(loaded, [Applied { closing, ..command }, other]);
    Ok(())
}

#[tokio::test]
async fn history_is_read_in_the_order_in_which_it_happened() -> Result<()> {
    let bench = Bench::new().await?;
    let part = bench.part().await?;
    let entry =
        |key, at, step: &str| HistoryRow { partition: 0, key: id(key), at, entry: format!(r#"{{"step":"{step}"}}"#) };
    let history = vec![entry(1, DUE, "open"), entry(2, DUE, "other"), entry(1, DUE, "seat")];
    let claimed = part.claim(0).await?.value;
    part.commit(&Commit { history, ..of_partition(next(&claimed)) }).await.expect("committed");

    let operator = bench.store.operator("enrollment-saga")?;
    let steps = |entries: Vec<daybook_store::HistoryEntry>| -> Vec<String> {
        entries.iter().map(|entry| entry.entry["step"].to_string()).collect()
    };
    assert_eq!(steps(operator.history(id(1), 0).await?), ["\"open\"", "\"seat\""]);
    assert_eq!(steps(operator.history(id(1), 1).await?), ["\"seat\""]);
    Ok(())
}

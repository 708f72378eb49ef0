use daybook_events::{Actor, Header, HeaderError, HeaderRef, ReplyTo, Shard, Timestamp, TraceContext, is_sampled};
use proptest::prelude::*;
use uuid::Uuid;

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn shard() -> impl Strategy<Value = Shard> {
    ("[a-z-]{0,64}", any::<u16>(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
        |(instance, partition, incarnation, seq, prev)| Shard {
            instance: instance.into(),
            partition,
            incarnation,
            seq,
            prev,
        },
    )
}

fn actor() -> impl Strategy<Value = Actor> {
    (id(), "[a-z: ]{0,64}").prop_map(|(id, scopes)| Actor { id, scopes: scopes.into() })
}

fn reply_to() -> impl Strategy<Value = ReplyTo> {
    ("[a-z.]{0,64}", id()).prop_map(|(topic, key)| ReplyTo { topic: topic.into(), key })
}

fn trace() -> impl Strategy<Value = TraceContext> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<bool>()).prop_map(|(trace_id, span_id, sampled)| TraceContext {
        trace_id,
        span_id,
        sampled,
    })
}

prop_compose! {
    fn header()(
        message_id in id(), correlation_id in id(), time in any::<i64>(),
        shard in proptest::option::of(shard()), causation_id in proptest::option::of(id()),
        actor in proptest::option::of(actor()), tenant in proptest::option::of(id()),
        reply_to in proptest::option::of(reply_to()), reply_for in proptest::option::of(id()),
        trace in proptest::option::of(trace()), request_hash in proptest::option::of(any::<[u8; 32]>()),
    ) -> Header {
        Header {
            message_id, shard, correlation_id, causation_id, time: Timestamp(time), actor, tenant,
            reply_to, reply_for, trace, request_hash,
        }
    }
}

proptest! {
    #[test]
    fn a_header_survives(header in header()) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes).unwrap();
        prop_assert_eq!(Header::decode(&bytes).unwrap(), header.clone());
        prop_assert_eq!(HeaderRef::decode(&bytes).unwrap(), header.as_ref());
        prop_assert_eq!(is_sampled(&bytes), header.trace.is_some_and(|trace| trace.sampled));
        for end in 0..bytes.len() {
            prop_assert!(HeaderRef::decode(&bytes[..end]).is_err());
        }
        bytes.push(0);
        prop_assert_eq!(HeaderRef::decode(&bytes), Err(HeaderError::Trailing(1)));
    }

    #[test]
    fn any_bytes_are_a_header_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
        if known && bytes.len() > 2 {
            bytes[0] = 1;
            bytes[1] &= 1;
        }
        if let Ok(header) = Header::decode(&bytes) {
            let mut again = Vec::new();
            header.encode(&mut again).unwrap();
            prop_assert_eq!(Header::decode(&again).unwrap(), header);
        }
    }
}

#[test]
fn the_bytes_of_a_header_never_change() {
    let mut header = Header::first(Uuid::from_u128(1), Timestamp(2));
    let mut bytes = Vec::new();
    header.encode(&mut bytes).unwrap();
    let id = "00000000000000000000000000000001";
    assert_eq!(hex::encode(&bytes), format!("010000{id}{id}0000000000000002"));

    header.shard = Some(Shard { instance: "ab".into(), partition: 3, incarnation: 4, seq: 5, prev: 6 });
    bytes.clear();
    header.encode(&mut bytes).unwrap();
    let shard = "02616200030000000400000000000000050000000000000006";
    assert_eq!(hex::encode(&bytes), format!("010001{id}{id}0000000000000002{shard}"));
}

#[test]
fn later_versions_and_unknown_flags_are_told() {
    assert_eq!(HeaderRef::decode(&[2]), Err(HeaderError::Version(2)));
    assert_eq!(HeaderRef::decode(&[1, 0x80, 0]), Err(HeaderError::Flags(0x8000)));
    assert_eq!(HeaderRef::decode(&[]), Err(HeaderError::Short));
}

#[test]
fn a_text_too_long_is_refused_and_leaves_nothing_behind() {
    let mut header = Header::first(Uuid::nil(), Timestamp(0));
    header.reply_to = Some(ReplyTo { topic: "x".repeat(256).into(), key: Uuid::nil() });
    let mut bytes = b"before".to_vec();
    assert_eq!(header.encode(&mut bytes), Err(HeaderError::Long(256)));
    assert_eq!(bytes, b"before");
}

#[test]
fn an_actor_may_what_is_written_and_no_more() {
    let actor = Actor { id: Uuid::nil(), scopes: "courses:publish payments".into() };
    assert!(actor.may("payments") && actor.may("courses:publish"));
    assert!(!actor.may("courses") && !actor.may(""));
}

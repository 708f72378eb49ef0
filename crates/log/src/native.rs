//! The five things that rdkafka does not wrap. All unsafe code of the log is in this file.
#![expect(
    unsafe_code,
    reason = "rdkafka wraps neither DescribeTopics nor ListConsumerGroupOffsets nor the lookup of one header by name nor the last known end of a partition, and asks for offsets by time through consumers only"
)]

use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_admin_op_t::{
    RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
};
use rdkafka::client::Client;
use rdkafka::error::{IsError, KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use uuid::Uuid;

use crate::Committed;

/// The value of a record's last header called `name`.
///
/// rdkafka's own iteration panics on a header whose *name* is not UTF-8, which anybody may publish; this looks only at the one
/// that is asked for.
pub(crate) fn header<'m>(message: &'m BorrowedMessage<'_>, name: &CStr) -> Option<&'m [u8]> {
    let mut headers = ptr::null_mut();
    // SAFETY: the message is alive, and `headers` is only used while it is.
    let found = unsafe { sys::rd_kafka_message_headers(message.ptr(), &mut headers) };
    if found.is_error() {
        return None;
    }
    let (mut value, mut size) = (ptr::null(), 0);
    // SAFETY: `headers` was just set by librdkafka and belongs to the message.
    let found = unsafe { sys::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size) };
    if found.is_error() || value.is_null() {
        return None;
    }
    // SAFETY: librdkafka answers a pointer to `size` bytes that live as long as the message, to which the lifetime is bound.
    Some(unsafe { std::slice::from_raw_parts(value.cast(), size) })
}

/// The end of a partition as the last fetch told it; asks nobody.
pub(crate) fn end_seen<C: ClientContext>(client: &Client<C>, topic: &str, partition: u16) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: client and topic outlive the call, which only writes the two numbers.
    let known = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            topic.as_ptr(),
            i32::from(partition),
            &mut low,
            &mut high,
        )
    };
    (!known.is_error() && high >= 0).then_some(high)
}

/// Where the first `partitions` partitions of each topic end now, topic by topic: one question to each leader for all of them. Blocks up
/// to `timeout`.
pub(crate) fn ends<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    partitions: u16,
    timeout: Duration,
) -> KafkaResult<Vec<i64>> {
    let topics: Vec<CString> = topics.iter().map(|topic| CString::new(topic.as_str())).collect::<Result<_, _>>()?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the list is destroyed by its guard at the end; its elements are used only before, and while nothing is added.
    unsafe {
        let list = Owned(sys::rd_kafka_topic_partition_list_new(0), sys::rd_kafka_topic_partition_list_destroy);
        for topic in &topics {
            for partition in 0..partitions {
                let element = sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), i32::from(partition));
                // The time that means the end (KIP-79).
                (*element).offset = i64::from(sys::RD_KAFKA_OFFSET_END);
            }
        }
        let asked = sys::rd_kafka_offsets_for_times(client.native_ptr(), list.0, timeout_ms);
        if asked.is_error() {
            return Err(KafkaError::OffsetFetch(asked.into()));
        }
        let count = usize::try_from((*list.0).cnt).unwrap_or_default();
        let elements = if count == 0 { &[] } else { std::slice::from_raw_parts((*list.0).elems, count) };
        let end = |element: &sys::rd_kafka_topic_partition_t| {
            if element.err.is_error() { Err(KafkaError::OffsetFetch(element.err.into())) } else { Ok(element.offset) }
        };
        elements.iter().map(end).collect()
    }
}

/// A topic as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub name: String,
    /// `None`: there is no such topic.
    pub topic: Option<(Uuid, usize)>,
}

/// Asks for ids and partition counts. Blocks up to `timeout`.
pub(crate) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    timeout: Duration,
) -> KafkaResult<Vec<Description>> {
    let names: Vec<CString> = names.iter().map(|name| CString::new(name.as_str())).collect::<Result<_, _>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the collection is destroyed by its guard after the request, which copies it; the event (and with it the result and
    // descriptions read from it) lives until the end of the function.
    unsafe {
        let topics = Owned(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        );
        let event = ask(client, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout, |options, queue| {
            sys::rd_kafka_DescribeTopics(client.native_ptr(), topics.0, options, queue);
        })?;
        read_descriptions(event.0)
    }
}

/// What a group has committed of one partition; `None`: nothing. Blocks up to `timeout`.
pub(crate) fn committed<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    topic: &str,
    partition: u16,
    timeout: Duration,
) -> KafkaResult<Option<Committed>> {
    let (group, topic) = (CString::new(group)?, CString::new(topic)?);
    // SAFETY: list and question are destroyed by their guards after the request, which copies them; the event (and with it the
    // offsets read from it) lives until the end of the function.
    unsafe {
        let list = Owned(sys::rd_kafka_topic_partition_list_new(1), sys::rd_kafka_topic_partition_list_destroy);
        sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), i32::from(partition));
        let question = Owned(
            sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.0),
            sys::rd_kafka_ListConsumerGroupOffsets_destroy,
        );
        let event = ask(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout, |options, queue| {
            let mut questions = [question.0];
            sys::rd_kafka_ListConsumerGroupOffsets(
                client.native_ptr(),
                questions.as_mut_ptr(),
                questions.len(),
                options,
                queue,
            );
        })?;
        read_committed(event.0, partition)
    }
}

/// # Safety
/// `event` must be the result of `ListConsumerGroupOffsets` for one group and one partition, and outlive the call.
unsafe fn read_committed(event: *mut sys::rd_kafka_event_t, partition: u16) -> KafkaResult<Option<Committed>> {
    // SAFETY: as the caller promises; groups, partitions and their errors belong to the event.
    unsafe {
        let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event);
        let mut count = 0;
        if result.is_null() {
            return Err(KafkaError::Canceled);
        }
        let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        if count != 1 {
            return Err(KafkaError::Canceled);
        }
        let failed = sys::rd_kafka_group_result_error(*groups);
        if !failed.is_null() {
            return Err(KafkaError::AdminOp(sys::rd_kafka_error_code(failed).into()));
        }
        let list = sys::rd_kafka_group_result_partitions(*groups);
        if list.is_null() || (*list).cnt != 1 {
            return Err(KafkaError::Canceled);
        }
        let found = &*(*list).elems;
        if found.err.is_error() {
            return Err(KafkaError::AdminOp(found.err.into()));
        }
        let metadata: &[u8] = if found.metadata.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(found.metadata.cast(), found.metadata_size)
        };
        // Not ours where it is not text.
        let metadata = std::str::from_utf8(metadata).unwrap_or_default();
        Ok((found.offset >= 0).then(|| Committed::read(partition, found.offset, metadata)))
    }
}

/// Asks the brokers a question that `send` sends, and waits for the answer, which is not an error.
///
/// # Safety
/// `send` must send a request of this kind with the options and to the queue that it is given.
unsafe fn ask<C: ClientContext>(
    client: &Client<C>,
    kind: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> KafkaResult<Owned<sys::rd_kafka_event_t>> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: options and queue are destroyed by their guards, in reverse order, after the last use; the client outlives both.
    unsafe {
        let options =
            Owned(sys::rd_kafka_AdminOptions_new(client.native_ptr(), kind), sys::rd_kafka_AdminOptions_destroy);
        let mut text = [0; 256];
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, text.as_mut_ptr(), text.len());
        if set.is_error() {
            return Err(KafkaError::AdminOpCreation(CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()));
        }
        let queue = Owned(sys::rd_kafka_queue_new(client.native_ptr()), sys::rd_kafka_queue_destroy);
        send(options.0, queue.0);
        let event = Owned(sys::rd_kafka_queue_poll(queue.0, timeout_ms), sys::rd_kafka_event_destroy);
        if event.0.is_null() {
            return Err(KafkaError::AdminOp(rdkafka::types::RDKafkaErrorCode::OperationTimedOut));
        }
        let failed = sys::rd_kafka_event_error(event.0);
        if failed.is_error() {
            return Err(KafkaError::AdminOp(failed.into()));
        }
        Ok(event)
    }
}

/// # Safety
/// `event` must be the result of `DescribeTopics` and outlive the call.
unsafe fn read_descriptions(event: *mut sys::rd_kafka_event_t) -> KafkaResult<Vec<Description>> {
    let mut count = 0;
    // SAFETY: as the caller promises.
    let topics = unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(KafkaError::Canceled);
        }
        let first = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 { &[] } else { std::slice::from_raw_parts(first, count) }
    };
    // SAFETY: the descriptions belong to the event.
    topics.iter().map(|topic| unsafe { read_description(*topic) }).collect()
}

/// # Safety
/// `topic` must point to a description that outlives the call.
unsafe fn read_description(topic: *const sys::rd_kafka_TopicDescription_t) -> KafkaResult<Description> {
    use sys::rd_kafka_resp_err_t::{RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART};
    // SAFETY: as the caller promises; name, error, id and partitions belong to the description.
    unsafe {
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        match sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic)) {
            RD_KAFKA_RESP_ERR_NO_ERROR => {}
            RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => {
                return Ok(Description { name, topic: None });
            }
            failed => return Err(KafkaError::AdminOp(failed.into())),
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let id = Uuid::from_u64_pair(
            sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned(),
            sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned(),
        );
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        Ok(Description { name, topic: Some((id, partitions)) })
    }
}

/// A native object and how it is destroyed.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by librdkafka, owned by this guard, destroyed once.
            unsafe { (self.1)(self.0) }
        }
    }
}

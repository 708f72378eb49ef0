//! The log line of each alarm: a code, where, and numbers. Never a key, never a payload.

use daybook_engine::Alarm;
use tracing::{error, warn};

pub(crate) fn tell(part: &str, alarm: &Alarm) {
    match alarm {
        Alarm::Gap { partition, instance, shard, mark, prev, seq } => warn!(
            code = "gap",
            part, partition, instance, shard, mark, prev, seq, "a number is missing in the log; the sender goes back"
        ),
        Alarm::Parked { partition, offset, stream, code } => {
            warn!(code = "parked", part, partition, offset, ?stream, reason = code, "a record was parked");
        }
        Alarm::Untold { partition, code } => {
            warn!(code = "untold", part, partition, reason = code, "a parked record is in its table alone");
        }
        Alarm::NeedsAttention { partition, code } => {
            warn!(code = "needs-attention", part, partition, reason = code, "an effect needs somebody's attention");
        }
        Alarm::DeliveryFailed { partition, seq } => {
            warn!(code = "delivery-failed", part, partition, seq, "a message was not delivered; the shard goes back");
        }
        Alarm::ProviderDown { provider } => {
            warn!(code = "provider-down", part, provider, "a provider serves nobody; one call at a time asks after it");
        }
        Alarm::ProviderUp { provider } => {
            warn!(code = "provider-up", part, provider, "a provider serves again");
        }
        Alarm::Fenced { partition } => {
            warn!(code = "fenced", part, partition, "another process writes this partition; stood down");
        }
        Alarm::CommitUnknown => {
            warn!(
                code = "commit-unknown",
                part, "nobody knows whether a batch was stored; its partitions are taken anew"
            );
        }
        Alarm::TimerFailed { partition, code } => {
            warn!(
                code = "timer-failed",
                part,
                partition,
                reason = code,
                "a timer could not be fired; tried again later"
            );
        }
        Alarm::ParticipantLags { partition, topic, of, behind } => {
            warn!(code = "participant-lags", part, partition, topic, of, behind, "deadlines wait for a participant");
        }
        Alarm::Corrupt { partition } => {
            error!(code = "corrupt", part, partition, "stored bytes cannot be read; the partition stands still");
        }
        Alarm::HeldFilling { partition, held } => {
            warn!(code = "held-filling", part, partition, held, "many records wait behind blocked keys");
        }
        Alarm::OffsetJump { partition, stream, expected, found } => {
            error!(
                code = "offset-jump",
                part,
                partition,
                ?stream,
                expected,
                found,
                "the log skips offsets; the partition stands still"
            );
        }
    }
}

/// The code of an alarm, for the counter.
pub(crate) fn code(alarm: &Alarm) -> &'static str {
    match alarm {
        Alarm::Gap { .. } => "gap",
        Alarm::Parked { .. } => "parked",
        Alarm::Untold { .. } => "untold",
        Alarm::NeedsAttention { .. } => "needs-attention",
        Alarm::DeliveryFailed { .. } => "delivery-failed",
        Alarm::ProviderDown { .. } => "provider-down",
        Alarm::ProviderUp { .. } => "provider-up",
        Alarm::Fenced { .. } => "fenced",
        Alarm::CommitUnknown => "commit-unknown",
        Alarm::TimerFailed { .. } => "timer-failed",
        Alarm::ParticipantLags { .. } => "participant-lags",
        Alarm::Corrupt { .. } => "corrupt",
        Alarm::HeldFilling { .. } => "held-filling",
        Alarm::OffsetJump { .. } => "offset-jump",
    }
}

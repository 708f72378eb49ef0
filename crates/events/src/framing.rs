/// Bytes before the body: a zero and the schema's id.
pub const FRAME_BYTES: usize = 5;

/// A Kafka value is not in Confluent's wire format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the frame itself takes.
    #[error("a value of {0} bytes is shorter than its frame")]
    Short(usize),
    /// The first byte is not the format's.
    #[error("a value begins with {0:#04x} instead of 0x00")]
    Magic(u8),
}

/// Begins a Kafka value in Confluent's wire format; the body is to be appended.
pub fn frame(schema_id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

/// Takes a Kafka value in Confluent's wire format apart into schema id and body.
///
/// # Errors
/// When the value is not in that format.
pub fn unframe(value: &[u8]) -> Result<(u32, &[u8]), FrameError> {
    let Some(([magic, id @ ..], body)) = value.split_first_chunk::<FRAME_BYTES>() else {
        return Err(FrameError::Short(value.len()));
    };
    if *magic != 0 {
        return Err(FrameError::Magic(*magic));
    }
    Ok((u32::from_be_bytes(*id), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_carries_the_schema_id_big_endian() {
        let mut value = Vec::new();
        frame(258, &mut value);
        value.extend_from_slice(b"body");
        assert_eq!(value, b"\x00\x00\x00\x01\x02body");
        assert_eq!(unframe(&value), Ok((258, &b"body"[..])));
    }

    #[test]
    fn what_is_not_framed_is_told() {
        assert_eq!(unframe(b"\x00\x00\x00"), Err(FrameError::Short(3)));
        assert_eq!(unframe(b"{\"a\":1}"), Err(FrameError::Magic(b'{')));
    }
}

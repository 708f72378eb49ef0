use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::settings::{Settings, Sources};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `work` logs, line by line.
fn lines(work: impl FnOnce()) -> Vec<Value> {
    let settings = Settings::load(&Sources::default(), &[]).unwrap().telemetry;
    let captured = Captured::default();
    let writer = captured.clone();
    let provider = export::provider(&settings, "test").unwrap();
    let subscriber = subscriber(&settings, &provider, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = captured.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_carries_its_trace_and_its_flow() {
    let logged = lines(|| {
        let span = tracing::info_span!("batch", correlation_id = "c-1", partition = 3);
        follow(&span, PARENT.parse().unwrap());
        span.in_scope(|| {
            tracing::info_span!("inner").in_scope(|| tracing::warn!(records = 42, ok = true, "batch committed"));
        });
    });
    assert_eq!(logged.len(), 1);
    let line = &logged[0];
    assert_eq!(line["message"], "batch committed");
    assert_eq!(line["level"], "warn");
    assert_eq!(line["records"], 42);
    assert_eq!(line["ok"], true);
    assert_eq!(line["span"], "inner");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["correlation_id"], "c-1");
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn the_current_span_can_be_handed_on() {
    lines(|| {
        assert_eq!(current(), None);
        let span = tracing::info_span!("request");
        follow(&span, PARENT.parse().unwrap());
        let handed_on = span.in_scope(current).unwrap();
        assert_eq!(handed_on.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(handed_on.is_sampled());
        assert_ne!(handed_on.to_string(), PARENT);
    });
}

#[test]
fn levels_filter_and_huge_values_are_cut() {
    let logged = lines(|| {
        tracing::debug!("too quiet");
        tracing::info!(text = "ä".repeat(10_000), list = ?vec![7; 10_000], "big");
    });
    assert_eq!(logged.len(), 1);
    for field in ["text", "list"] {
        let value = logged[0][field].as_str().unwrap();
        assert_eq!(value.strip_suffix('…').unwrap().len(), 8192);
    }
}

#[test]
fn a_trace_parent_is_read_as_the_specification_says() {
    let parent: TraceParent = PARENT.parse().unwrap();
    assert_eq!(parent.to_string(), PARENT);
    assert_eq!(TraceParent::from_bytes(&parent.to_bytes()), Ok(parent));
    assert!(PARENT.replacen("00", "cc", 1).parse::<TraceParent>().is_ok());
    assert!(format!("{}-more", PARENT.replacen("00", "cc", 1)).parse::<TraceParent>().is_ok());
    for wrong in [
        "",
        "00",
        &PARENT.to_uppercase(),
        &PARENT.replacen("00", "ff", 1),
        &format!("{PARENT}-more"),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
    ] {
        assert_eq!(wrong.parse::<TraceParent>(), Err(BadTraceParent), "{wrong}");
    }
}

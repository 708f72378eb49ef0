//! Traces leave the process as OTLP over HTTP.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use daybook_service::{Settings, Sources, telemetry};
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A collector that hands on what it receives: content type and body.
async fn collector() -> (String, mpsc::Receiver<(String, Bytes)>) {
    let (sender, receiver) = mpsc::channel(16);
    let receive = move |headers: HeaderMap, body: Bytes| async move {
        let content_type = headers["content-type"].to_str().unwrap().to_owned();
        sender.send((content_type, body)).await.unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", post(receive));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, receiver)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn spans_reach_the_collector_before_the_process_ends() {
    let (address, mut received) = collector().await;
    let variables = [("DAYBOOK_TELEMETRY__OTLP_ENDPOINT", address.as_str()), ("DAYBOOK_TELEMETRY__SAMPLE_RATIO", "1")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::load(&Sources::of(None, variables.into()), &[]).unwrap();
    let running = telemetry::start(&settings.telemetry, "daybook-test").unwrap();

    tracing::info_span!("batch", records = 42).in_scope(|| tracing::info!("committed"));
    running.stop().await.unwrap();

    let (content_type, body) = tokio::time::timeout(Duration::from_secs(20), received.recv())
        .await
        .expect("the spans must be sent before stop returns")
        .unwrap();
    assert_eq!(content_type, "application/x-protobuf");
    for text in ["daybook-test", "batch", "records"] {
        assert!(contains(&body, text), "no {text} in the export");
    }
}

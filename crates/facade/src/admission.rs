//! Before a request reaches its route: who asks, whether they may ask so much, and whether there is room for more.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use daybook_events::derive_id;
use daybook_service::Metrics;
use daybook_service::metrics::{Counters, MetricsError};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use uuid::Uuid;

use crate::auth::{Caller, Tokens};
use crate::codes::{self, Code};
use crate::overload::Overload;
use crate::problem::Problem;
use crate::quota::Verdict;
use crate::rate_limits::RateLimits;

/// What is left of the quota, and what the quota is (draft-ietf-httpapi-ratelimit-headers-11).
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Name of the one policy there is.
const POLICY: &str = "caller";

/// Bytes of an IPv6 address that name a network; whoever has one has all addresses in it.
const IPV6_NETWORK_BYTES: usize = 8;

/// Who asks; for the handlers behind the admission.
#[derive(Clone)]
struct Identity(Option<Caller>);

/// Who asks, as the admission has found out; `None`: nobody known.
pub(crate) fn caller_of(extensions: &Extensions) -> Option<Caller> {
    extensions.get::<Identity>().and_then(|Identity(caller)| caller.clone())
}

pub(crate) struct Admission {
    tokens: Arc<Tokens>,
    limits: Arc<RateLimits>,
    overload: Overload,
    refused: Counters<1>,
}

impl Admission {
    pub(crate) fn new(
        tokens: Arc<Tokens>,
        limits: Arc<RateLimits>,
        overload: Overload,
        metrics: &Metrics,
    ) -> Result<Self, MetricsError> {
        let refused = metrics.counter(
            "daybook_http_turned_away_total",
            "Requests refused because of their caller's limit, or of the backlog.",
            ["code"],
        )?;
        Ok(Self { tokens, limits, overload, refused })
    }

    fn turned_away(&self, code: Code, seconds: u64) -> Problem {
        self.refused.with([code.name]).inc();
        Problem::new(code).header(header::RETRY_AFTER, seconds)
    }

    fn check_room(&self, account: Uuid) -> Result<(), Problem> {
        self.overload.admit(account).map_err(|seconds| self.turned_away(codes::OVERLOADED, seconds))
    }
}

/// For routes that read.
pub(crate) async fn admit(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    admitted(&admission, request, next, |_| Ok(())).await
}

/// For routes that take commands: these also make work.
pub(crate) async fn admit_command(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    admitted(&admission, request, next, |account| admission.check_room(account)).await
}

async fn admitted(
    admission: &Admission,
    mut request: Request,
    next: Next,
    check_room: impl FnOnce(Uuid) -> Result<(), Problem>,
) -> Response {
    let caller = admission.tokens.caller(request.headers()).await;
    // A bad token counts for the address that it comes from, as none does.
    let account = match &caller {
        Ok(Some(caller)) => caller.id,
        Ok(None) | Err(_) => account_of(&request),
    };
    let verdict = admission.limits.judge(account).await;
    let response = if verdict.is_admitted {
        match caller.and_then(|caller| check_room(account).map(|()| caller)) {
            Ok(caller) => {
                request.extensions_mut().insert(Identity(caller));
                next.run(request).await
            }
            Err(problem) => problem.into_response(),
        }
    } else {
        admission.turned_away(codes::RATE_LIMITED, seconds(verdict.next_in)).into_response()
    };
    with_limits(response, admission, verdict)
}

/// The account of those without a token: their network's.
fn account_of(request: &Request) -> Uuid {
    let address =
        request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    match address {
        Some(IpAddr::V4(address)) => derive_id("address", &[&address.octets()]),
        Some(IpAddr::V6(address)) => derive_id("address", &[&address.octets()[..IPV6_NETWORK_BYTES]]),
        None => Uuid::nil(),
    }
}

fn with_limits(mut response: Response, admission: &Admission, verdict: Verdict) -> Response {
    let quota = admission.limits.quota();
    let policy = format!("\"{POLICY}\";q={};w={}", quota.requests, quota.window.as_secs());
    let left = format!("\"{POLICY}\";r={};t={}", verdict.remaining, seconds(verdict.full_in));
    insert(response.headers_mut(), RATE_LIMIT_POLICY, &policy);
    insert(response.headers_mut(), RATE_LIMIT, &left);
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    let value = HeaderValue::from_str(text).expect("numbers and a constant name are visible ASCII");
    headers.insert(name, value);
}

/// Rounded up: too late is in time, too early is not.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn addresses_of_one_network_share_an_account() {
        let account = |address: &str| {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 4_711)));
            account_of(&request)
        };
        assert_ne!(account("192.0.2.1"), account("192.0.2.2"));
        assert_eq!(account("192.0.2.1"), account("::ffff:192.0.2.1"));
        assert_eq!(account("2001:db8:0:1::1"), account("2001:db8:0:1:ffff::2"));
        assert_ne!(account("2001:db8:0:1::1"), account("2001:db8:0:2::1"));
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
    }
}

//! Rate limits on a real Redis: processes that share it count together, and without it each counts for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use daybook_facade::testing::{Memory, deps, token};
use daybook_facade::{Facade, Metrics, RateLimits, Secret};
use daybook_service::SystemClock;
use daybook_stack::{Layout, Plan, Server, Silent, Stack};
use http::{Request, StatusCode, header};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use uuid::Uuid;

const REQUESTS: u32 = 4;
const WINDOW_SECONDS: u32 = 3_600;

/// How long Redis may take to be noticed again.
const PATIENCE: Duration = Duration::from_secs(120);

/// One of several processes.
struct Process {
    router: Router,
    metrics: Metrics,
}

impl Process {
    fn new(redis_url: &str) -> Self {
        let mut deps = deps(&Memory::default());
        deps.http.rate_limit_requests = REQUESTS;
        deps.http.rate_limit_window_seconds = WINDOW_SECONDS;
        let url = Secret::new(redis_url.to_owned());
        let clock = Arc::new(SystemClock::default());
        deps.limits = Arc::new(RateLimits::new(&deps.http, Some(&url), clock, &deps.metrics).unwrap());
        let metrics = deps.metrics.clone();
        Self { router: Facade::new("Tests", deps).router().unwrap(), metrics }
    }

    async fn send(&self, caller: u128) -> Response {
        let token = token(Uuid::from_u128(caller), None, "");
        let builder = Request::builder().uri("/api/v1/operations/nonsense");
        let request = builder.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty());
        self.router.clone().oneshot(request.unwrap()).await.unwrap()
    }

    fn counted_locally(&self) -> bool {
        let rendered = self.metrics.render().unwrap();
        rendered.lines().any(|line| line.starts_with("daybook_rate_limits_local_total") && !line.ends_with(" 0"))
    }
}

fn field(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn redis() -> Stack {
    Stack::start(Layout::temporary().unwrap(), &Plan::for_tests(&[Server::Redis]), &Silent).unwrap()
}

#[test]
fn processes_share_one_quota() {
    let stack = redis();
    let url = stack.urls().redis;
    Runtime::new().unwrap().block_on(async {
        let (first, second) = (Process::new(&url), Process::new(&url));
        for left in (0..REQUESTS).rev() {
            let process = if left % 2 == 0 { &first } else { &second };
            let answer = process.send(1).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            assert!(field(&answer, "ratelimit").starts_with(&format!("\"caller\";r={left};")), "{answer:?}");
        }
        for process in [&first, &second] {
            let refused = process.send(1).await;
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            let seconds: u32 = field(&refused, "retry-after").parse().unwrap();
            assert!((1..=WINDOW_SECONDS / REQUESTS).contains(&seconds), "{seconds}");
            assert!(!process.counted_locally());
        }
        assert_eq!(second.send(2).await.status(), StatusCode::NOT_FOUND, "another caller has another quota");
    });
}

#[test]
fn without_redis_each_process_counts_for_itself_until_it_is_back() {
    let mut stack = redis();
    let runtime = Runtime::new().unwrap();
    let process = runtime.block_on(async {
        let process = Process::new(&stack.urls().redis);
        assert_eq!(process.send(1).await.status(), StatusCode::NOT_FOUND);
        assert!(!process.counted_locally());
        process
    });
    stack.kill(Server::Redis).unwrap();
    runtime.block_on(async {
        for _ in 0..REQUESTS {
            assert_eq!(process.send(1).await.status(), StatusCode::NOT_FOUND, "a limiter that is away refuses nobody");
        }
        assert_eq!(process.send(1).await.status(), StatusCode::TOO_MANY_REQUESTS, "and yet there is a limit");
        assert!(process.counted_locally());
    });
    stack.restart(Server::Redis, &Silent).unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        // By Redis this caller has no debt.
        while process.send(1).await.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(began.elapsed() < PATIENCE, "redis is back and not asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

//! The service of the saga benchmark on Restate: five steps, each journaled, none of which does anything.
//! Usage: restate-peer ADDRESS

use anyhow::Context as _;
use restate_sdk::prelude::*;

const STEPS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

struct Journey;

#[restate_sdk::service]
impl Journey {
    /// Every step is committed before the next one begins.
    #[handler]
    async fn run(&self, context: Context<'_>) -> Result<(), HandlerError> {
        for step in STEPS {
            context.run(|| async { Ok(()) }).name(step).await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).context("usage: restate-peer ADDRESS")?;
    let endpoint = Endpoint::builder().bind(Journey).build();
    HttpServer::new(endpoint).listen_and_serve(address.parse()?).await;
    Ok(())
}

//! One stack for all tests of a process, or of a whole run.

use std::env;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::{Layout, Lifetime, Plan, Server, Silent, Stack, Urls};

/// Names the folder of a stack that runs already, for tests to share.
const SHARED_ROOT: &str = "DAYBOOK_TEST_STACK";

impl Stack {
    /// Where to find `servers` for tests that only use them: keep apart by names (topics, schemas), never stop them.
    ///
    /// If `DAYBOOK_TEST_STACK` names the folder of a stack, that one is used, and what it lacks is started there and stays.
    /// Otherwise the first call of a process starts a private one on free ports in a temporary folder, later calls
    /// add to it what they need, and it ends with the process.
    ///
    /// # Errors
    /// As [`Stack::start`].
    #[expect(clippy::disallowed_methods, reason = "tests are told of a running stack by the environment")]
    pub fn shared_for_tests(servers: &[Server]) -> Result<Urls> {
        if let Some(root) = env::var_os(SHARED_ROOT) {
            let layout = Layout::new(Path::new(&root))?;
            let plan = Plan { lifetime: Lifetime::Detached, ..Plan::for_tests(servers) };
            return Ok(Self::start(layout, &plan, &Silent)?.urls());
        }
        static PRIVATE: OnceLock<Mutex<Option<Stack>>> = OnceLock::new();
        let mut private = PRIVATE.get_or_init(|| Mutex::new(None)).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stack) = private.as_mut() {
            stack.add(servers)?;
            return Ok(stack.urls());
        }
        let plan = Plan::for_tests(servers);
        let stack = Self::start(Layout::temporary()?, &plan, &Silent)?;
        Ok(private.insert(stack).urls())
    }
}

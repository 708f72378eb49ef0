//! The run of every change: short, always the same faults. Longer ones, with other seeds, are run by `./dev faults`.

use std::time::Duration;

use faults::{Options, run};

/// Start and rest come on top.
const LASTING: Duration = Duration::from_secs(4 * 60);

#[test]
fn no_rule_is_broken_and_no_log_tells_a_secret() {
    let options = Options { name: "faults-test".to_owned(), seed: 4, lasting: LASTING, apart: false, per_second: 3.0 };
    let report = run(&options).expect("the platform starts");
    println!("{}", report.lines().join("\n"));
    assert!(report.is_good(), "{:#?}", report.violations);
}

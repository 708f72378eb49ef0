#![doc = include_str!("../README.md")]

mod outcomes;
mod record;
mod steps;

use daybook_consumer::Part;

pub use outcomes::Operations;
pub use record::{Closing, OperationRecord};
pub use steps::{EnrollmentSteps, OperationSteps, PaymentSteps, STEP_TABLES, StepsOf, Transition, WithdrawalSteps};

/// The parts of this leaf.
pub fn parts() -> Vec<Part> {
    vec![
        Part::projection::<Operations>(),
        Part::projection::<OperationSteps<EnrollmentSteps>>(),
        Part::projection::<OperationSteps<PaymentSteps>>(),
        Part::projection::<OperationSteps<WithdrawalSteps>>(),
    ]
}

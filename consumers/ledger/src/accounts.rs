//! The chart of accounts.

/// What the payment provider owes the organization: captured minus refunded, fees and disputed amounts.
pub const PROVIDER_CLEARING: &str = "asset:provider-clearing";
/// What the provider has paid out.
pub const BANK: &str = "asset:bank";
/// Paid for, but not yet earned.
pub const DEFERRED_REVENUE: &str = "liability:deferred-revenue";
/// Owed to payers, but not yet on its way.
pub const REFUNDS: &str = "liability:refunds";
/// Earned by courses.
pub const REVENUE: &str = "revenue";
/// Kept by the provider.
pub const PROVIDER_FEES: &str = "expense:provider-fees";
/// Taken back by payers' banks.
pub const DISPUTES: &str = "expense:disputes";

/// Every account that can be posted to.
pub const ACCOUNTS: [&str; 7] = [PROVIDER_CLEARING, BANK, DEFERRED_REVENUE, REFUNDS, REVENUE, PROVIDER_FEES, DISPUTES];

//! What can be left out, to see whether the simulator misses it.

use daybook_engine::Mutation;
use daybook_saga::Flaw;

use crate::database::Lapse;

/// A rule of `docs/runtime.md` that is left out, by whom it is carried out. In a release build only what the simulated
/// world carries out itself can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeftOut {
    Engine(Mutation),
    Saga(Flaw),
    Database(Lapse),
    /// The adapter declares that the provider keeps keys for ever.
    KeyLifetime,
}

impl LeftOut {
    pub(crate) fn of_engine(self) -> Option<Mutation> {
        match self {
            Self::Engine(mutation) => Some(mutation),
            _ => None,
        }
    }

    pub(crate) fn of_saga(self) -> Option<Flaw> {
        match self {
            Self::Saga(flaw) => Some(flaw),
            _ => None,
        }
    }

    pub(crate) fn of_database(self) -> Option<Lapse> {
        match self {
            Self::Database(lapse) => Some(lapse),
            // Engine and database count versions by the same rule.
            Self::Engine(Mutation::VersionRaisedByRecordsOnly) => Some(Lapse::VersionRaisedByRecordsOnly),
            _ => None,
        }
    }
}

/// A rule that can be left out.
#[derive(Clone, Copy, Debug)]
pub struct Tooth {
    /// The rule left out, in the words of the table in `docs/reliability.md`.
    pub name: &'static str,
    pub left_out: LeftOut,
    /// The rule over the whole that then is broken, where there is one for just this. `None`: it shows in many ways.
    pub shows: Option<&'static str>,
}

const fn tooth(name: &'static str, left_out: LeftOut) -> Tooth {
    Tooth { name, left_out, shows: None }
}

const fn tooth_of(name: &'static str, left_out: LeftOut, shows: &'static str) -> Tooth {
    Tooth { name, left_out, shows: Some(shows) }
}

/// What is lost in the log leaves somebody without an answer.
const UNANSWERED: &str = "every command that asked gets a reply";
const ONCE: &str = "a message is applied once";
const GAPLESS: &str = "numbers are gapless";
const NO_HOLD: &str = "nobody's card stays charged with a hold";

/// Every rule that can be left out.
pub const TEETH: [Tooth; 21] = [
    tooth_of("no version compare", LeftOut::Database(Lapse::VersionNotCompared), GAPLESS),
    tooth_of(
        "version not raised where nothing is taken in",
        LeftOut::Engine(Mutation::VersionRaisedByRecordsOnly),
        GAPLESS,
    ),
    tooth_of("offset outside the transaction", LeftOut::Database(Lapse::OffsetsBeforeBatch), UNANSWERED),
    tooth_of("mark moved over a gap", LeftOut::Engine(Mutation::GapPassed), UNANSWERED),
    tooth_of("mark ignored", LeftOut::Engine(Mutation::MarksIgnored), ONCE),
    tooth("no republish on assignment", LeftOut::Engine(Mutation::NoRepublish)),
    tooth_of("go-forward instead of go-back", LeftOut::Engine(Mutation::GoForward), UNANSWERED),
    tooth_of(
        "reply matched by type",
        LeftOut::Saga(Flaw::ReplyMatchedByType),
        "a saga goes on by the answer to what it asked last",
    ),
    tooth_of("undo order reversed", LeftOut::Saga(Flaw::UndoInOrder), "what was done is undone from its end"),
    tooth_of(
        "unanswered step not undone",
        LeftOut::Saga(Flaw::UnansweredNotUndone),
        "a captured payment has an active enrollment, or a refund",
    ),
    tooth_of("effect without its key", LeftOut::Engine(Mutation::KeyPerCall), NO_HOLD),
    tooth_of("unknown effect repeated past the key's lifetime", LeftOut::KeyLifetime, NO_HOLD),
    tooth_of(
        "timer fired before unread replies",
        LeftOut::Engine(Mutation::TimerBeforeUnread),
        "what is unread comes before a deadline",
    ),
    tooth_of("stale timer", LeftOut::Saga(Flaw::StaleTimerFires), "no deadline passes before its time"),
    tooth_of(
        "deadline passed while its participant lagged",
        LeftOut::Engine(Mutation::LagIgnored),
        "a deadline waits for whom it asked",
    ),
    tooth_of(
        "deadline passed while its participant waited",
        LeftOut::Engine(Mutation::WaitsIgnored),
        "a deadline waits for those for whom its participant waits",
    ),
    tooth_of(
        "held messages released out of order",
        LeftOut::Engine(Mutation::HeldReversed),
        "messages of one key are applied in order",
    ),
    tooth("cache kept after a lost partition", LeftOut::Engine(Mutation::CacheSurvives)),
    tooth_of(
        "breaker ignored",
        LeftOut::Engine(Mutation::BreakerIgnored),
        "a provider that is down is called once at a time",
    ),
    tooth_of("control topic held", LeftOut::Engine(Mutation::ControlHeld), UNANSWERED),
    tooth_of("`applied` forgotten", LeftOut::Database(Lapse::AppliedForgotten), ONCE),
];

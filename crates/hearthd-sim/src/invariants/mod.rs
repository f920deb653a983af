//! What must hold, whatever happens.

mod announced;
mod evidence;
mod limits;
mod liveness;
mod outcomes;
mod owners;
mod reach;
mod repeats;
mod requests;
mod shares;
mod states;
mod wire;

pub(crate) use announced::Said;
pub(crate) use requests::REDELIVERY;

/// The rules that a simulation checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invariant {
    RightWill,
    Answered,
    OneAnswer,
    ExecutedOnce,
    RefusedNotExecuted,
    StaleNotExecuted,
    TrueOutcome,
    AllowedTopic,
    Bounded,
    PubackInOrder,
    StoredFirst,
    PacketSize,
    Noticed,
    Alive,
    OwnerAnswers,
    Serves,
    Retained,
    TrueState,
    Share,
    Durable,
    Repeated,
    EndTold,
    ReadAnew,
    OwnStates,
    DeclaredTopic,
    BeforeAnswer,
    OneOutcome,
    AskedOnce,
    AskAnswered,
    NoCircle,
    OwnFlood,
    HeardAtOnce,
    Reach,
    Announced,
    AnnouncedOnce,
    AnnouncedStored,
}

impl Invariant {
    /// Returns the invariant in words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::RightWill => "`online` only with the right will",
            Self::Answered => "every accepted request is answered",
            Self::OneAnswer => "no two answers contradict each other",
            Self::ExecutedOnce => "no request is executed twice",
            Self::RefusedNotExecuted => "what is refused is not executed",
            Self::StaleNotExecuted => "what is stale is not executed",
            Self::TrueOutcome => "no outcome is false",
            Self::AllowedTopic => "nothing is published outside the allowed topics",
            Self::Bounded => "every queue stays within its bound",
            Self::PubackInOrder => "PUBACKs in the order of arrival",
            Self::StoredFirst => "stored before CONNECT, PUBACK and what may be done once",
            Self::PacketSize => "no packet is larger than the broker takes",
            Self::Noticed => "what the broker refuses is noticed",
            Self::Alive => "once the faults stop, all comes to rest",
            Self::OwnerAnswers => "whoever has a device answers for it, and nobody else of ours",
            Self::Serves => "a hub is subscribed to what it has, and to nothing else",
            Self::Retained => "what is retained of devices is of devices that are there",
            Self::TrueState => "no answer shows a state that the device does not have",
            Self::Durable => "what an answer says of a device is stored before it",
            Self::Repeated => "an answer is `repeated` only where its request was",
            Self::EndTold => "what has ended is not told to be under way",
            Self::ReadAnew => "a read is never answered from the journal",
            Self::OwnStates => "a hub takes back its own states, and nobody else's",
            Self::DeclaredTopic => {
                "no message of a device leaves on a topic that is not declared and allowed"
            }
            Self::BeforeAnswer => "no message of a device leaves after its request was answered",
            Self::AskedOnce => "what a device asks leaves once, while it waits for the answer",
            Self::AskAnswered => "a device that asks is told in time what it was answered",
            Self::NoCircle => "no device is asked for what its own answer waits for",
            Self::OneOutcome => "each message of a device has one outcome",
            Self::OwnFlood => "a flood on one device's topic costs that device alone",
            Self::HeardAtOnce => "a device hears at once what comes for it",
            Self::Reach => "a device out of reach is told to be so, and no read of it is a 200",
            Self::Announced => "what is announced is what shall be, once the hub is online",
            Self::AnnouncedOnce => "each change of an announcement is told once",
            Self::AnnouncedStored => "the store knows of what is announced",
            Self::Share => "no sender takes another's share",
        }
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) detail: String,
}

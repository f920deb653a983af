//! The rights of clients: accounts, roles, and what each grants.

mod pattern;
mod refusal;
mod table;

use std::{collections::BTreeMap, sync::Arc};

pub use pattern::filter_fault;
pub use refusal::Refused;
pub use table::{Action, Extent, Kind, extent};

pub(crate) use pattern::{MAX_LEVELS, Pattern};

use pattern::CLIENT;
use table::Owner;

/// What an account is in the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A hub: writes the state of its devices, its presence and its absence, and answers.
    Hub,
    /// Somebody who lives here: asks every device, reads everything.
    Resident,
    /// Somebody who visits: asks the devices given to it, and sees no others.
    Guest,
    /// A program that answers for devices of its own.
    Responder,
    /// A bridge or a device beside the home, which uses the topics given to it and no others.
    Device,
    /// An account without a role, as those of older configurations: uses every topic of the home.
    Everything,
}

impl Role {
    /// The roles that an account can be given.
    pub const GIVEN: [Self; 5] =
        [Self::Hub, Self::Resident, Self::Guest, Self::Responder, Self::Device];

    /// Returns the role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::GIVEN.into_iter().find(|role| role.name() == name)
    }

    /// Returns its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Resident => "resident",
            Self::Guest => "guest",
            Self::Responder => "responder",
            Self::Device => "device",
            Self::Everything => "none",
        }
    }
}

/// Topics beside those of the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// The filter; `*` at the end of a level stands for any rest of it.
    pub filter: String,
    /// Whether it may be subscribed to.
    pub read: bool,
    /// Whether it may be published to, retained as well.
    pub write: bool,
}

/// An account, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User name.
    pub name: Arc<str>,
    /// Its role.
    pub role: Role,
    /// Client IDs that belong to the account; empty means any that no other account claims.
    pub client_ids: Vec<NamePattern>,
    /// Devices that belong to the account, or are given to it. One hub of the home may leave them out: it has those that
    /// no other account claims.
    pub devices: Vec<NamePattern>,
    /// Topics beside those of the role.
    pub rights: Vec<Right>,
}

/// A name, or the start of one before a trailing `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// It is empty, or has a `*` anywhere but at its end.
    pub fn parse(pattern: &str) -> Result<Self, &'static str> {
        let text = pattern.strip_suffix('*').unwrap_or(pattern);
        if text.is_empty() {
            return Err("is empty; write a name such as `hearthd-pi` or `phone-*`");
        }
        if text.contains('*') {
            return Err("may have a `*` only at its end");
        }
        Ok(Self(pattern.to_owned()))
    }

    /// Returns whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.0,
        }
    }

    /// Returns it as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// All accounts of the home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountTable {
    /// The home: the first levels of its topics.
    pub home: Arc<str>,
    /// The accounts by name.
    pub accounts: BTreeMap<Arc<str>, Account>,
}

impl AccountTable {
    /// Returns why an account may not use a client ID, if it may not.
    pub(crate) fn client_id_fault(&self, account: &Account, client_id: &str) -> Option<String> {
        let claims = |account: &Account| account.client_ids.iter().any(|id| id.matches(client_id));
        if claims(account) {
            return None;
        }
        let name = &account.name;
        if !account.client_ids.is_empty() {
            return Some(format!("account `{name}` may not use client ID `{client_id}`"));
        }
        let claimed = self.accounts.values().any(claims);
        claimed.then(|| format!("client ID `{client_id}` belongs to another account"))
    }

    /// Returns what an account grants to its clients; nothing where there is no such account.
    pub(crate) fn rules_of(&self, account: &str) -> Arc<Rules> {
        let Some(account) = self.accounts.get(account) else { return Arc::default() };
        let rules = |action| self.rules(account, action);
        Arc::new(Rules {
            publish: rules(Action::Publish),
            retain: rules(Action::Retain),
            read: rules(Action::Read),
            role: Some(account.role),
        })
    }

    /// Returns what an account grants to one client.
    pub fn grant(&self, account: &str, client_id: &str) -> Grant {
        Grant { rules: self.rules_of(account), client_id: client_id.into() }
    }

    /// Returns the rules for one action; the first that matches a topic decides.
    fn rules(&self, account: &Account, action: Action) -> Vec<Rule> {
        let mut rules = Vec::new();
        let kind = |rules: &mut Vec<Rule>, kind: Kind| match extent(account.role, kind, action) {
            Extent::Any => rules.push(self.rule(kind, "+", true)),
            Extent::Never => rules.push(self.rule(kind, "+", false)),
            Extent::Own => self.own(rules, account, kind),
        };
        let (guarded, others): (Vec<Kind>, Vec<Kind>) =
            Kind::ALL.into_iter().partition(|kind| kind.is_guarded());
        let granted = || account.rights.iter().filter(|right| right.grants(action));
        let given = |rules: &mut Vec<Rule>| {
            rules.extend(granted().map(|right| Rule::allow(Pattern::of_right(&right.filter))));
        };
        // A granted topic may be read whatever it is; what only a hub writes stays closed to others.
        if action == Action::Read {
            given(&mut rules);
        }
        guarded.into_iter().for_each(|each| kind(&mut rules, each));
        given(&mut rules);
        others.into_iter().for_each(|each| kind(&mut rules, each));
        rules
    }

    /// Adds the rules for topics of one's own; all others of the kind stay closed.
    fn own(&self, rules: &mut Vec<Rule>, account: &Account, kind: Kind) {
        match kind.owner() {
            Owner::Client => rules.push(self.rule(kind, CLIENT, true)),
            Owner::Device if self.has_the_rest(account) => {
                let others = self.accounts.values().filter(|other| other.name != account.name);
                for device in others.flat_map(Account::serves) {
                    rules.push(self.rule(kind, device.as_str(), false));
                }
                rules.push(self.rule(kind, "+", true));
            }
            Owner::Device => {
                for device in &account.devices {
                    rules.push(self.rule(kind, device.as_str(), true));
                }
            }
            Owner::Nobody => {}
        }
        rules.push(self.rule(kind, "+", false));
    }

    /// Returns whether all devices belong to a hub that no other account claims: it names none, and no other hub does so.
    fn has_the_rest(&self, account: &Account) -> bool {
        let others = self.accounts.values().filter(|other| other.name != account.name);
        account.is_hub_of_the_rest() && !others.into_iter().any(Account::is_hub_of_the_rest)
    }

    fn rule(&self, kind: Kind, owner: &str, allow: bool) -> Rule {
        let below = kind.template().replace("{}", owner);
        Rule { pattern: Pattern::of_kind(&format!("{}/{below}", self.home)), allow }
    }
}

impl Account {
    /// Returns whether the account is a hub that names no devices.
    pub(crate) fn is_hub_of_the_rest(&self) -> bool {
        self.role == Role::Hub && self.devices.is_empty()
    }

    /// Returns the devices whose state the account writes and no other does.
    fn serves(&self) -> &[NamePattern] {
        match self.role {
            Role::Hub | Role::Responder => &self.devices,
            Role::Resident | Role::Guest | Role::Device | Role::Everything => &[],
        }
    }
}

impl Right {
    fn grants(&self, action: Action) -> bool {
        match action {
            Action::Publish | Action::Retain => self.write,
            Action::Read => self.read,
        }
    }
}

/// What an account grants to its clients, shared by all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules {
    publish: Vec<Rule>,
    retain: Vec<Rule>,
    read: Vec<Rule>,
    role: Option<Role>,
}

/// What one client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What its account grants.
    pub rules: Arc<Rules>,
    /// The client ID, which topics of its own have in them.
    pub client_id: Arc<str>,
}

/// Whether some topics are open; the first rule that matches a topic decides.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    allow: bool,
}

impl Rule {
    fn allow(pattern: Pattern) -> Self {
        Self { pattern, allow: true }
    }
}

impl Grant {
    /// Returns the role of the account, if the account still exists.
    pub fn role(&self) -> Option<Role> {
        self.rules.role
    }

    /// Returns whether a message may be published; an empty one removes what is retained.
    pub fn may_publish(&self, topic: &str, retain: bool, empty: bool) -> bool {
        let retains = retain && !empty;
        self.decide(if retains { &self.rules.retain } else { &self.rules.publish }, topic)
    }

    /// Returns whether a message may be delivered.
    pub(crate) fn may_read(&self, topic: &str) -> bool {
        self.decide(&self.rules.read, topic)
    }

    /// Returns whether a filter can match a topic that may be read; what it matches besides is left out at delivery.
    pub(crate) fn may_subscribe(&self, filter: &str) -> bool {
        if filter.starts_with('$') {
            return false;
        }
        if !filter.contains(['+', '#']) {
            return self.may_read(filter);
        }
        let wanted = Pattern::of_filter(filter);
        let allowed = self.rules.read.iter().filter(|rule| rule.allow);
        allowed.into_iter().any(|rule| rule.pattern.overlaps(&wanted, &self.client_id))
    }

    fn decide(&self, rules: &[Rule], topic: &str) -> bool {
        let matches = |rule: &&Rule| rule.pattern.matches_for(topic, &self.client_id);
        !topic.starts_with('$') && rules.iter().find(matches).is_some_and(|rule| rule.allow)
    }
}

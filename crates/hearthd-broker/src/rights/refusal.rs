//! Why something is not granted, for people: the account, its role, and the right that is missing.

use super::{
    Account, AccountTable, Extent, Kind, NamePattern, Right, Role, extent,
    table::{Action, Owner},
};

/// What was refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'r> {
    /// What the client wanted, such as "publish its will on".
    pub wanted: &'static str,
    /// The right that this takes.
    pub action: Action,
    /// The topic name or topic filter.
    pub topic: &'r str,
}

impl AccountTable {
    /// Returns why an account is refused: a Reason String, and a line of the log.
    ///
    /// `hearthd doctor` looks for the words "its role is" and "it has no role" in it.
    pub fn refusal(&self, account: &str, client_id: &str, refused: Refused<'_>) -> String {
        let Refused { wanted, topic, .. } = refused;
        let shown: String = topic.chars().take(LONGEST_TOPIC).collect();
        let rest = if shown.len() < topic.len() { ".." } else { "" };
        let text = format!("account `{account}` may not {wanted} `{shown}{rest}`");
        let Some(account) = self.accounts.get(account) else { return text };
        let role = match account.role {
            Role::Everything => "it has no role".to_owned(),
            role => format!("its role is `{}`", role.name()),
        };
        let text = format!("{text}: {role}, {}", self.missing(account, client_id, refused));
        text.chars().take(LONGEST_REFUSAL).collect()
    }

    /// Says which right the account lacks, as the end of a sentence.
    fn missing(&self, account: &Account, client_id: &str, refused: Refused<'_>) -> String {
        let Refused { action, topic, .. } = refused;
        if topic.starts_with('$') {
            return "and topics that begin with `$` are for nobody".to_owned();
        }
        let (kind, owner) = match self.below_home(topic) {
            Some(below) => kind_of(below),
            None => return outside(account, action, &self.home),
        };
        let kinds = plural(kind);
        match extent(account.role, kind, action) {
            Extent::Never if action == Action::Read => match account.role {
                Role::Device => outside(account, action, &self.home),
                _ => format!("which may not read {kinds}"),
            },
            Extent::Never if kind.is_guarded() => {
                format!("and only {} may publish {kinds}", roles_that(kind, action))
            }
            Extent::Never
                if action == Action::Retain
                    && extent(account.role, kind, Action::Publish) != Extent::Never =>
            {
                format!("which may not retain {kinds}")
            }
            Extent::Never => match account.role {
                Role::Device => outside(account, action, &self.home),
                _ => format!("which may not publish {kinds}"),
            },
            Extent::Own => self.not_own(account, client_id, kind, owner),
            Extent::Any => "and nothing that this matches is granted".to_owned(),
        }
    }

    /// Returns the levels of a topic below the home.
    fn below_home<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let rest = topic.strip_prefix(&*self.home)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// Says whose a topic is, where an account may use its own of the kind.
    fn not_own(
        &self,
        account: &Account,
        client_id: &str,
        kind: Kind,
        owner: Option<&str>,
    ) -> String {
        let Some(owner) = owner.filter(|owner| !owner.contains(['+', '#'])) else {
            return match kind.owner() {
                Owner::Device => "and it has no `devices`".to_owned(),
                Owner::Client | Owner::Nobody => {
                    format!("and only `{client_id}` in the topic is its own")
                }
            };
        };
        match kind.owner() {
            Owner::Device if self.has_the_rest(account) => {
                let claims = |other: &&Account| {
                    other.name != account.name && other.devices.iter().any(|it| it.matches(owner))
                };
                let other = self.accounts.values().find(claims);
                let other = other.map_or("another account", |other| &other.name);
                format!("and device `{owner}` belongs to account `{other}`")
            }
            Owner::Device if account.devices.is_empty() => {
                format!("and it has no `devices`, so not `{owner}`")
            }
            Owner::Device => {
                let devices = listed(account.devices.iter().map(NamePattern::as_str));
                format!("and device `{owner}` is none of its `devices` ({devices})")
            }
            Owner::Client | Owner::Nobody => {
                format!("and the client ID is `{client_id}`, not `{owner}`")
            }
        }
    }
}

/// Says what a topic would have to be, that `rights` alone can grant.
fn outside(account: &Account, action: Action, home: &str) -> String {
    let mut granted = account.rights.iter().filter(|right| right.grants(action)).peekable();
    let what = if action == Action::Read { "read" } else { "write" };
    match (account.role, granted.peek().is_some()) {
        (_, true) => {
            let filters = listed(granted.map(|Right { filter, .. }| filter.as_str()));
            let home = if account.role == Role::Device {
                String::new()
            } else {
                format!("the home `{home}` and of ")
            };
            format!("and the topic is outside of {home}the `rights` to {what} ({filters})")
        }
        (Role::Device, false) => format!("and it has no `rights` to {what}"),
        (_, false) => {
            format!("and the topic is outside of the home `{home}`; `rights` can grant it")
        }
    }
}

/// Returns what kind of topic of the home one is, and the level that says whose.
fn kind_of(below: &str) -> (Kind, Option<&str>) {
    let found = Kind::ALL.into_iter().find_map(|kind| {
        let mut levels = below.split('/');
        let mut owner = None;
        for wanted in kind.template().split('/') {
            if wanted == "#" {
                return Some((kind, owner));
            }
            let level = levels.next()?;
            match wanted {
                "{}" => owner = Some(level),
                _ if wanted == level => {}
                _ => return None,
            }
        }
        levels.next().is_none().then_some((kind, owner))
    });
    found.unwrap_or((Kind::Other, None))
}

fn roles_that(kind: Kind, action: Action) -> String {
    let may = |role: &Role| extent(*role, kind, action) != Extent::Never;
    let roles = Role::GIVEN.into_iter().filter(may).map(|role| format!("`{}`", role.name()));
    roles.collect::<Vec<_>>().join(" and ")
}

/// Returns the first names of many.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names = names.map(|name| format!("`{name}`"));
    let first: Vec<String> = names.by_ref().take(SHOWN).collect();
    let more = if names.next().is_some() { ", .." } else { "" };
    format!("{}{more}", first.join(", "))
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::State => "states",
        Kind::Presence => "presence",
        Kind::Absence => "absence",
        Kind::Request => "requests",
        Kind::Response => "responses",
        Kind::Event => "events",
        Kind::Other => "other topics of the home",
    }
}

/// How much of a topic is shown, in characters.
const LONGEST_TOPIC: usize = 120;
/// Longest Reason String, in characters.
const LONGEST_REFUSAL: usize = 400;
/// How many of an account's devices or rights are named.
const SHOWN: usize = 4;

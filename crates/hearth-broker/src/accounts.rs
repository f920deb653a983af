//! Who may connect, with which client ID, and what they may publish and subscribe to.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use mqtt5::{
    broker::{AuthProvider, AuthResult, PasswordAuthProvider},
    packet::connect::ConnectPacket,
    parse_shared_subscription,
    protocol::v5::reason_codes::ReasonCode,
};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::watchdog::Login;

/// The accounts of one home, as the broker's authentication and authorisation.
///
/// Every account may use every topic below `<home>/` and no other. A client ID that one account
/// claims is closed to all others, because whoever connects with it takes over or destroys its session.
#[derive(Debug)]
pub struct Accounts {
    /// The home with a slash at its end.
    prefix: String,
    accounts: Vec<Account>,
    checks: Arc<Semaphore>,
    /// The broker itself, when it tries whether it answers.
    itself: Option<Login>,
}

/// One account.
#[derive(Clone, Debug)]
pub struct Account {
    /// User name.
    pub name: String,
    /// Argon2 hash of the password.
    pub password_hash: PasswordHash,
    /// Client IDs that only this account may use, and the only ones it may use; empty means any
    /// that no other account claims.
    pub client_ids: Vec<ClientIdPattern>,
}

impl Accounts {
    /// Creates the accounts of a home.
    pub fn new(home: &str, accounts: Vec<Account>) -> Self {
        let checks = Arc::new(Semaphore::new(MAX_PASSWORD_CHECKS));
        Self { prefix: format!("{home}/"), accounts, checks, itself: None }
    }

    /// Lets the broker itself in, which may use no topic.
    #[must_use]
    pub fn with_itself(self, itself: Login) -> Self {
        Self { itself: Some(itself), ..self }
    }

    /// Returns the reason to refuse a client ID to an account, if there is one.
    pub fn refuse_client_id(&self, account: &Account, client_id: &str) -> Option<ReasonCode> {
        let claims =
            |account: &Account| account.client_ids.iter().any(|pattern| pattern.matches(client_id));
        if claims(account) {
            return None;
        }
        if !account.client_ids.is_empty() {
            return Some(ReasonCode::ClientIdentifierNotValid);
        }
        self.accounts.iter().any(claims).then_some(ReasonCode::NotAuthorized)
    }

    /// Returns whether a topic name lies below the home.
    pub fn allows_topic(&self, topic: &str) -> bool {
        topic.starts_with(&self.prefix)
    }

    /// Returns whether a topic filter, shared or not, can only match topics below the home.
    pub fn allows_filter(&self, filter: &str) -> bool {
        let (filter, _) = parse_shared_subscription(filter);
        // A wildcard never equals a level of the home, so the text decides.
        self.allows_topic(filter)
    }

    async fn check(&self, connect: &ConnectPacket, address: SocketAddr) -> AuthResult {
        let name = connect.username.as_deref().unwrap_or_default();
        let client_id = connect.client_id.as_str();
        let password = connect.password.as_deref();
        if self.itself.as_ref().is_some_and(|itself| itself.is(client_id, name, password)) {
            return AuthResult::success();
        }
        let refuse = |reason: ReasonCode, why: &'static str| {
            warn!(account = name, client_id, %address, why, "login refused");
            AuthResult::fail(reason)
        };
        let Some(account) = self.password_matches(name, password).await else {
            return refuse(ReasonCode::BadUsernameOrPassword, "wrong user name or password");
        };
        if let Some(reason) = self.refuse_client_id(account, client_id) {
            return refuse(reason, "the account may not use this client ID");
        }
        // The library would accept such a will and drop it in silence when it is due.
        if let Some(will) = &connect.will
            && !self.allows_topic(&will.topic)
        {
            return refuse(ReasonCode::NotAuthorized, "the will's topic is outside the home");
        }
        AuthResult::success_with_user(&account.name)
    }

    async fn password_matches(&self, name: &str, password: Option<&[u8]>) -> Option<&Account> {
        let password = String::from_utf8(password?.to_vec()).ok()?;
        let account = self.accounts.iter().find(|account| account.name == name);
        // An unknown name costs as much time as a wrong password, so nobody can list the accounts.
        let hash = account.or(self.accounts.first())?.password_hash.0.clone();
        let permit = Arc::clone(&self.checks).acquire_owned().await.ok()?;
        let matches = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            PasswordAuthProvider::verify_password(&password, &hash)
        });
        let matches = matches.await.unwrap_or(false);
        account.filter(|_| matches)
    }
}

impl AuthProvider for Accounts {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        client_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = mqtt5::Result<AuthResult>> + Send + 'a>> {
        Box::pin(async move { Ok(self.check(connect, client_addr).await) })
    }

    fn authorize_publish<'a>(
        &'a self,
        _client_id: &str,
        user_id: Option<&'a str>,
        topic: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move { user_id.is_some() && self.allows_topic(topic) })
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client_id: &str,
        user_id: Option<&'a str>,
        topic_filter: &'a str,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move { user_id.is_some() && self.allows_filter(topic_filter) })
    }
}

/// An Argon2 hash in the PHC format, which no debug print shows.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Parses a hash: `$argon2id$v=19$m=..,t=..,p=..$salt$hash`.
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split('$').collect();
        let [before, algorithm, rest @ ..] = fields.as_slice() else { return None };
        let known = matches!(*algorithm, "argon2id" | "argon2i" | "argon2d");
        let whole = matches!(rest.len(), 3 | 4) && rest.iter().all(|field| !field.is_empty());
        (before.is_empty() && known && whole).then(|| Self(text.to_owned()))
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn of(password: &str) -> mqtt5::Result<Self> {
        PasswordAuthProvider::hash_password(password).map(Self)
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A client ID, or the start of one before a trailing `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdPattern {
    text: String,
    open: bool,
}

impl ClientIdPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Where it is empty, or a `*` stands anywhere but at its end.
    pub fn parse(pattern: &str) -> Result<Self, &'static str> {
        let (text, open) = match pattern.strip_suffix('*') {
            Some(text) => (text, true),
            None => (pattern, false),
        };
        if text.is_empty() {
            return Err("is empty; name a client ID such as `hearthd-pi` or `phone-*`");
        }
        if text.contains('*') {
            return Err("may have a `*` only at its end");
        }
        Ok(Self { text: text.to_owned(), open })
    }

    /// Returns whether a client ID matches.
    pub fn matches(&self, client_id: &str) -> bool {
        if self.open { client_id.starts_with(&self.text) } else { client_id == self.text }
    }
}

/// Passwords checked at once: each check costs 19 MiB and tens of milliseconds.
const MAX_PASSWORD_CHECKS: usize = 2;

#[cfg(test)]
mod tests {
    use mqtt5::ConnectOptions;

    use super::*;

    fn accounts() -> Accounts {
        let account = |name: &str, ids: &[&str]| Account {
            name: name.into(),
            password_hash: PasswordHash::of(&format!("{name}'s password")).unwrap(),
            client_ids: ids.iter().map(|id| ClientIdPattern::parse(id).unwrap()).collect(),
        };
        Accounts::new(
            "alice",
            vec![account("hub", &["hearthd-pi", "hub-*"]), account("phone", &[])],
        )
    }

    async fn log_in(name: &str, password: &str, client_id: &str) -> ReasonCode {
        let mut connect = ConnectPacket::new(ConnectOptions::new(client_id).protocol_options);
        connect.username = Some(name.into());
        connect.password = Some(password.into());
        let address = "127.0.0.1:1".parse().unwrap();
        accounts().authenticate(&connect, address).await.unwrap().reason_code
    }

    #[tokio::test]
    async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
        assert_eq!(log_in("hub", "hub's password", "hearthd-pi").await, ReasonCode::Success);
        for (name, password) in [("hub", "guess"), ("nobody", "hub's password"), ("", "")] {
            let code = log_in(name, password, "hearthd-pi").await;
            assert_eq!(code, ReasonCode::BadUsernameOrPassword, "{name}");
        }
    }

    #[tokio::test]
    async fn a_claimed_client_id_is_closed_to_every_other_account() {
        let phone = |id| log_in("phone", "phone's password", id);
        assert_eq!(phone("anything").await, ReasonCode::Success);
        assert_eq!(phone("hearthd-pi").await, ReasonCode::NotAuthorized);
        assert_eq!(phone("hub-attic").await, ReasonCode::NotAuthorized);
        assert_eq!(phone("hearthd-pi-2").await, ReasonCode::Success);
    }

    #[tokio::test]
    async fn an_account_with_client_ids_may_use_no_other() {
        let hub = |id| log_in("hub", "hub's password", id);
        assert_eq!(hub("hub-attic").await, ReasonCode::Success);
        assert_eq!(hub("hearthd-pi-2").await, ReasonCode::ClientIdentifierNotValid);
    }

    #[test]
    fn every_account_is_confined_to_the_home() {
        let accounts = accounts();
        for topic in ["alice/cmnd/light/power", "alice/x"] {
            assert!(accounts.allows_topic(topic), "{topic}");
        }
        for topic in ["alice", "alice2/x", "bob/x", "$SYS/broker", "/alice/x"] {
            assert!(!accounts.allows_topic(topic), "{topic}");
        }
        for filter in ["alice/#", "alice/+/x", "$share/group/alice/#"] {
            assert!(accounts.allows_filter(filter), "{filter}");
        }
        for filter in ["#", "+/x", "alice", "$SYS/#", "$share/group/#", "$share/alice/bob/#"] {
            assert!(!accounts.allows_filter(filter), "{filter}");
        }
    }

    #[test]
    fn a_hash_that_is_no_whole_argon2_hash_is_refused() {
        let hash = PasswordAuthProvider::hash_password("x").unwrap();
        assert!(PasswordHash::parse(&hash).is_some());
        for bad in ["", "secret", "$argon2id$", "$2b$10$abc", "argon2id$v=19$m=1$salt$hash"] {
            assert!(PasswordHash::parse(bad).is_none(), "{bad}");
        }
    }
}

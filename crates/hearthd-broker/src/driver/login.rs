//! Checks passwords and pairing codes, in a way that wrong ones do not delay other clients.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    hash::Hasher as _,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hearthd_config::address::network;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use tokio::{sync::Semaphore, time::sleep};
use tracing::{info, warn};

use super::codes::{Codes, Offer};
use crate::{
    accounts::{Credentials, PasswordHash, Secret},
    packet::{Connect, Reason},
    pairing::{self, Lasting, Sealed},
    rights::Role,
    watchdog::Login,
};

/// The login queue.
///
/// A password that was right before costs no Argon2. The others wait for their turn, first for that of their address and
/// account (one of these is checked at a time), then for a lane: hubs have their own. So a client that tries passwords
/// delays others at most by a few checks.
#[derive(Debug)]
pub(super) struct Logins {
    credentials: RefCell<Credentials>,
    codes: RefCell<Codes>,
    /// The key of [`Logins::digest`], known to this process alone.
    key: [u8; 16],
    /// Digests of passwords that were right.
    known: RefCell<VecDeque<u128>>,
    queues: RefCell<HashMap<QueueKey, Queue>>,
    hubs: Semaphore,
    others: Semaphore,
    /// The memory of Argon2, which one check at a time has; the lanes take turns.
    memory: Semaphore,
    /// The broker itself, when it tries whether it answers.
    watchdog: Option<Login>,
}

/// An address, and an account; all that there are not count as one.
type QueueKey = (IpAddr, Option<Arc<str>>);

/// Those who wait with one address and account.
#[derive(Debug)]
struct Queue {
    turn: Rc<Semaphore>,
    waiting: usize,
    failures: u32,
    last: Instant,
}

/// A CONNECT's user name and password.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) address: IpAddr,
    pub(super) account: String,
    pub(super) password: Option<Vec<u8>>,
}

/// Why a client is not let in.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) account: String,
    pub(super) reason: Reason,
    pub(super) why: &'static str,
}

impl Logins {
    pub(super) fn new(credentials: Credentials, key: [u8; 16], watchdog: Option<Login>) -> Self {
        Self {
            codes: RefCell::new(Codes::at_start(&credentials.codes, Instant::now())),
            credentials: RefCell::new(credentials),
            key,
            known: RefCell::default(),
            queues: RefCell::default(),
            hubs: Semaphore::new(1),
            others: Semaphore::new(1),
            memory: Semaphore::new(1),
            watchdog,
        }
    }

    /// Takes other accounts; returns those whose passwords changed.
    pub(super) fn replace(&self, credentials: Credentials) -> Vec<Arc<str>> {
        let before = self.credentials.replace(credentials);
        let now = self.credentials.borrow();
        self.codes.borrow_mut().replace(&now.codes, Instant::now(), SystemTime::now());
        let changed = before.accounts.iter().filter(|(name, old)| {
            now.accounts.get(*name).is_some_and(|new| new.secret != old.secret)
        });
        changed.map(|(name, _)| name.clone()).collect()
    }

    /// Returns whether a CONNECT is the broker's own, which finds out whether it answers.
    pub(super) fn is_watchdog(&self, connect: &Connect) -> bool {
        self.watchdog.as_ref().is_some_and(|login| login.is(connect))
    }

    /// Checks a password; returns the account, and the password that a pairing code hands out.
    pub(super) async fn check(
        &self,
        attempt: Attempt,
    ) -> Result<(Arc<str>, Option<Lasting>), Refusal> {
        let Attempt { address, account: name, password } = attempt;
        let refuse = |reason, why| Refusal { account: name.clone(), reason, why };
        let Some(password) = password else {
            return Err(refuse(Reason::BadUserNameOrPassword, "no password"));
        };
        let found = self.credentials.borrow().accounts.get(name.as_str()).cloned();
        if let Some(credential) = &found
            && self.is_known(&credential.secret, &password)
        {
            return Ok((credential.account.name.clone(), None));
        }
        // All names that there are not count as one, so that inventing names makes no queues.
        let account = found.as_ref().map(|credential| credential.account.name.clone());
        let key = (network(address), account.clone());
        let Some(turn) = self.wait_in_line(&key) else {
            let why = "too many logins at once; try again";
            return Err(refuse(Reason::ConnectionRateExceeded, why));
        };
        let is_hub = found.as_ref().is_some_and(|it| it.account.role == Role::Hub);
        let secret = found.map(|credential| credential.secret);
        let code = self.code(&name, &password);
        let candidate = Candidate { password, secret, code };
        let (candidate, proof) = self.verify(&turn, is_hub, candidate).await;
        let mut handed = None;
        let right = match (&account, proof) {
            (Some(account), Proof::Code(lasting)) => {
                handed = lasting;
                self.spend(account, &candidate)
            }
            (Some(_), Proof::Password) => {
                if let Some(secret) = &candidate.secret {
                    self.remember(secret, &candidate.password);
                }
                true
            }
            (None, _) | (_, Proof::Nothing) => false,
        };
        let pause = self.leave_line(&key, right);
        match account.filter(|_| right) {
            Some(account) => Ok((account, handed)),
            None => {
                // Only the client that guesses waits.
                sleep(pause).await;
                Err(refuse(Reason::BadUserNameOrPassword, "wrong user name or password"))
            }
        }
    }

    /// Returns what a password is checked against as a pairing code, if it may be one.
    ///
    /// While any account has a code, it is checked for every account, so that the time it takes names nobody.
    fn code(&self, account: &str, password: &[u8]) -> Option<Typed> {
        let letters = pairing::letters(password)?;
        let (hash, sealed) = match self.codes.borrow_mut().offer(account, Instant::now()) {
            Offer::Nothing => return None,
            Offer::OfAnother => (None, None),
            Offer::Code { hash, sealed, last_try } => {
                if last_try {
                    warn!(account, "the pairing code was tried too often: this try is its last");
                }
                (Some(hash), sealed)
            }
        };
        Some(Typed { letters, hash, sealed })
    }

    /// Uses a code up; returns whether it still lets anybody in.
    fn spend(&self, account: &str, candidate: &Candidate) -> bool {
        let hash = candidate.code.as_ref().and_then(|code| code.hash.as_ref());
        let spent =
            hash.is_some_and(|hash| self.codes.borrow_mut().spend(account, hash, Instant::now()));
        if spent {
            info!(account, "logged in with a pairing code, which is used up");
        }
        spent
    }

    /// Returns whether a password is right without a check: it was before, or the broker has it in plain.
    fn is_known(&self, secret: &Secret, password: &[u8]) -> bool {
        let digest = self.digest(secret, password);
        match secret {
            Secret::Plain(plain) => digest == self.digest(secret, plain.as_bytes()),
            Secret::Hash(_) => self.known.borrow().contains(&digest),
        }
    }

    fn remember(&self, secret: &Secret, password: &[u8]) {
        let digest = self.digest(secret, password);
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_KNOWN {
            known.pop_front();
        }
        known.push_back(digest);
    }

    /// Returns a digest of a password and what it is checked against; the password cannot be recovered from it.
    fn digest(&self, secret: &Secret, password: &[u8]) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        if let Secret::Hash(hash) = secret {
            hasher.write(hash.as_str().as_bytes());
        }
        hasher.write_u8(0);
        hasher.write(password);
        hasher.finish128().as_u128()
    }

    fn wait_in_line(&self, key: &QueueKey) -> Option<Rc<Semaphore>> {
        let mut queues = self.queues.borrow_mut();
        if queues.len() >= MAX_QUEUES {
            queues.retain(|_, queue| queue.waiting > 0 || queue.last.elapsed() < FORGIVEN);
        }
        if queues.len() >= MAX_QUEUES && !queues.contains_key(key) {
            return None;
        }
        let queue = queues.entry(key.clone()).or_insert_with(|| Queue {
            turn: Rc::new(Semaphore::new(1)),
            waiting: 0,
            failures: 0,
            last: Instant::now(),
        });
        if queue.waiting >= MAX_WAITING {
            return None;
        }
        queue.waiting += 1;
        Some(queue.turn.clone())
    }

    /// Returns how long a refusal takes.
    fn leave_line(&self, key: &QueueKey, right: bool) -> Duration {
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(key) else { return PAUSE };
        queue.waiting -= 1;
        if queue.last.elapsed() >= FORGIVEN || right {
            queue.failures = 0;
        }
        queue.last = Instant::now();
        queue.failures = queue.failures.saturating_add(u32::from(!right));
        LONGEST_PAUSE.min(PAUSE * 2_u32.pow(queue.failures.min(8)))
    }

    /// Checks a password against what the account has; an unknown name takes as long as a wrong password.
    async fn verify(
        &self,
        turn: &Semaphore,
        is_hub: bool,
        candidate: Candidate,
    ) -> (Candidate, Proof) {
        let lane = if is_hub { &self.hubs } else { &self.others };
        let (Ok(_turn), Ok(_lane)) = (turn.acquire().await, lane.acquire().await) else {
            return (candidate, Proof::Nothing);
        };
        let Ok(_memory) = self.memory.acquire().await else { return (candidate, Proof::Nothing) };
        let checked = candidate.clone();
        let check = tokio::task::spawn_blocking(move || checked.proof());
        (candidate, check.await.unwrap_or(Proof::Nothing))
    }
}

/// A password, and what it is checked against.
#[derive(Clone, Debug)]
struct Candidate {
    password: Vec<u8>,
    /// What the account has; none where there is no such account.
    secret: Option<Secret>,
    /// The password as a pairing code.
    code: Option<Typed>,
}

/// The letters of what may be a pairing code.
#[derive(Clone, Debug)]
struct Typed {
    letters: String,
    /// The account's code.
    hash: Option<PasswordHash>,
    /// What the code opens.
    sealed: Option<Sealed>,
}

/// What a password turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    Password,
    /// With the password that it hands out.
    Code(Option<Lasting>),
    Nothing,
}

impl Candidate {
    /// Checks it; takes tens of milliseconds, and twice as long where it may be a code.
    fn proof(&self) -> Proof {
        if let Some(Typed { letters, hash, sealed }) = &self.code
            && is_right(hash.as_ref(), letters.as_bytes())
        {
            return Proof::Code(sealed.as_ref().and_then(|sealed| sealed.open(letters)));
        }
        let hash = match &self.secret {
            Some(Secret::Hash(hash)) => Some(hash),
            Some(Secret::Plain(_)) | None => None,
        };
        if is_right(hash, &self.password) { Proof::Password } else { Proof::Nothing }
    }
}

/// Returns whether a password is the one of a hash; without a hash it takes as long as with one.
fn is_right(hash: Option<&PasswordHash>, password: &[u8]) -> bool {
    match hash {
        Some(hash) => hash.verify(password),
        None => {
            if let Ok(hash) = PasswordHash::parse(NOBODYS) {
                hash.verify(password);
            }
            false
        }
    }
}

/// A hash that no password is known for, as costly as those that the broker makes.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBoYXNo$\
                       uAC5bTzDXcmT2zk2GzYnX3u1xbhLZhZc1l8n1W0n1kE";
/// Digests that are remembered.
const MAX_KNOWN: usize = 256;
/// How many addresses and accounts are distinguished.
const MAX_QUEUES: usize = 1_024;
/// Logins of one address and account that wait.
const MAX_WAITING: usize = 32;
/// How long the first refusal takes.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// After so long without another try, failures are forgotten.
const FORGIVEN: Duration = Duration::from_secs(300);

//! Hashing passwords: argon2id (RFC 9106) with the parameters of OWASP's Password Storage Cheat Sheet.
//!
//! A hash takes about 20 ms of a core and 19 MiB of memory. Dedicated threads compute a few at a time; further requests
//! wait in a bounded queue, in which client addresses take turns. Each thread reuses its memory: the allocator would
//! retain a block for every thread that ever hashed.
//!
//! Passwords are normalized before they are hashed, since keyboards and systems encode the same characters differently.

mod queue;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, PasswordHash as Phc, Salt},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use domain::{Error, Result, passwords::PasswordHash};
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use unicode_normalization::UnicodeNormalization as _;

use self::queue::{Job, Queue};
use crate::random;

/// Maximum time to which a failed comparison is prolonged.
const MAX_PADDED_TIME: Duration = Duration::from_secs(1);
/// Number of kinds of hashes whose times are recorded.
const MAX_HASH_KINDS: usize = 16;
/// How much nicer hashing threads are than the others: beside a busy thread, one gets about a tenth of a core.
const NICENESS: i32 = 10;

/// The cost of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl HashCost {
    /// 19 MiB and 2 passes, as OWASP recommends.
    pub const OWASP: Self = Self { memory_kib: 19_456, passes: 2 };
    /// The minimum that argon2 allows, for tests.
    pub const CHEAPEST: Self = Self { memory_kib: 8, passes: 1 };
}

/// Outcome of verifying a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is right.
    Valid,
    /// The password is right, and its hash should be replaced by one with the current parameters.
    ValidButOutdated,
    /// The password is wrong.
    Invalid,
}

/// The client for whom a password is hashed.
#[derive(Debug, Clone)]
pub struct Requester {
    /// Its network address, by which clients take turns.
    pub address: IpAddr,
    /// Cancelled once the client has left or has been answered: nothing more is done for it then.
    pub gone: CancellationToken,
}

impl Requester {
    /// A requester on this machine that does not leave, for commands and tests.
    pub fn local() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), gone: CancellationToken::new() }
    }
}

/// Numbers of requests since the start for which no password was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedHashes {
    /// Refused, since too many waited.
    pub refused: u64,
    /// Skipped, since the client had left or had been answered.
    pub abandoned: u64,
}

/// Hashes and verifies passwords on a fixed number of threads.
#[derive(Clone)]
pub struct PasswordHasher(Arc<Pool>);

struct Pool {
    params: Params,
    queue: Arc<Queue<Work>>,
    /// The hash that passwords of unknown users are compared with, so that they take as long as others.
    dummy: PasswordHash,
    times: ComparisonTimes,
}

/// How long comparisons take, by kind of hash.
///
/// Imported hashes take another time than our own. A failed comparison would tell by its time that an account is an
/// imported one; so once hashes of several kinds were compared, all failed comparisons take the time of the slowest.
#[derive(Default)]
struct ComparisonTimes(Mutex<HashMap<String, Duration>>);

impl ComparisonTimes {
    /// Records a comparison in the moving average of its kind.
    fn record(&self, hash: &PasswordHash, took: Duration) {
        // bcrypt: `$2b$12`, argon2id: `$argon2id$v=19$m=19456,t=2,p=1`.
        let parts = if is_bcrypt(hash) { 3 } else { 4 };
        let kind = hash.0.splitn(parts + 1, '$').take(parts).collect::<Vec<_>>().join("$");
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(average) = times.get_mut(&kind) {
            *average = (*average * 7 + took) / 8;
        } else if times.len() < MAX_HASH_KINDS {
            times.insert(kind, took);
        }
    }

    /// Returns how long a failed comparison takes at least. Somewhat more than the slowest kind, whose times vary.
    fn padded(&self) -> Duration {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() < 2 {
            return Duration::ZERO;
        }
        times.values().max().map_or(Duration::ZERO, |slowest| (*slowest * 5 / 4).min(MAX_PADDED_TIME))
    }
}

impl Pool {
    fn compare(&self, password: &str, hash: &PasswordHash, memory: &mut Vec<Block>) -> Result<PasswordCheck> {
        let start = Instant::now();
        let check = verify(&self.params, password, hash, memory)?;
        self.times.record(hash, start.elapsed());
        Ok(check)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

type Work = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

impl PasswordHasher {
    /// Creates a pool of `threads` threads with at most `max_waiting` requests in its queue.
    pub fn new(cost: HashCost, threads: usize, max_waiting: usize) -> Result<Self> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None)
            .map_err(|error| Error::internal(error.to_string()))?;
        let dummy = unusable_hash(&params)?;
        let queue = Arc::new(Queue::new(max_waiting));
        for _ in 0..threads.max(1) {
            let queue = queue.clone();
            let thread = thread::Builder::new().name("hashes".into());
            thread.spawn(move || run_jobs(&queue)).map_err(Error::internal)?;
        }
        Ok(Self(Arc::new(Pool { params, queue, dummy, times: ComparisonTimes::default() })))
    }

    /// Returns how many requests were refused or skipped.
    pub fn skipped(&self) -> SkippedHashes {
        let Queue { refused, abandoned, .. } = &*self.0.queue;
        SkippedHashes {
            refused: refused.load(Ordering::Relaxed),
            abandoned: abandoned.load(Ordering::Relaxed),
        }
    }

    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if too many requests wait, or if the requester is gone.
    pub async fn hash(&self, password: String, requester: &Requester) -> Result<PasswordHash> {
        self.hash_with_salt(password, random::bytes()?, requester).await
    }

    /// Hashes a password with this salt, which must differ between accounts: equal passwords get equal hashes.
    ///
    /// # Errors
    /// As those of [`hash`](Self::hash).
    pub async fn hash_with_salt(
        &self,
        password: String,
        salt: [u8; 16],
        requester: &Requester,
    ) -> Result<PasswordHash> {
        let work = move |pool: &Pool, memory: &mut Vec<Block>| {
            hash(&pool.params, &normalize(&password), salt, memory)
        };
        self.run(requester, work).await
    }

    /// Returns a hash that no known password has. Comparing one with it takes as long as with any other.
    pub fn unusable_hash(&self) -> Result<PasswordHash> {
        unusable_hash(&self.0.params)
    }

    /// Compares a password with an argon2id or bcrypt hash. Without a hash, returns [`PasswordCheck::Invalid`]. Takes the
    /// same time whenever it returns that, whatever the kind of the hash.
    ///
    /// # Errors
    /// As those of [`hash`](Self::hash).
    pub async fn verify(
        &self,
        password: String,
        against: Option<PasswordHash>,
        requester: &Requester,
    ) -> Result<PasswordCheck> {
        let normalized = normalize(&password);
        // A hash may be older than the normalization.
        let comparisons = if normalized == password { 1 } else { 2 };
        let compare = move |pool: &Pool, memory: &mut Vec<Block>| {
            let start = Instant::now();
            let hash = against.as_ref().filter(|hash| is_well_formed(hash)).unwrap_or(&pool.dummy);
            let mut check = pool.compare(&normalized, hash, memory)?;
            if check == PasswordCheck::Invalid && comparisons > 1 {
                check = match pool.compare(&password, hash, memory)? {
                    PasswordCheck::Invalid => PasswordCheck::Invalid,
                    PasswordCheck::Valid | PasswordCheck::ValidButOutdated => PasswordCheck::ValidButOutdated,
                };
            }
            Ok((if against.is_some() { check } else { PasswordCheck::Invalid }, start))
        };
        let (check, start) = self.run(requester, compare).await?;
        if check == PasswordCheck::Invalid {
            let end = start + self.0.times.padded() * comparisons;
            tokio::time::sleep_until(end.into()).await;
        }
        Ok(check)
    }

    /// Runs `work` on one of the threads, in turn, unless the requester or this future is gone by then.
    async fn run<T: Send + 'static>(
        &self,
        requester: &Requester,
        work: impl FnOnce(&Pool, &mut Vec<Block>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let pool = self.0.clone();
        let gone = requester.gone.child_token();
        let _guard = gone.clone().drop_guard();
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move |memory| {
            let _ = sender.send(work(&pool, memory));
        });
        self.0.queue.push(Job { address: requester.address, gone, work })?;
        let result = receiver.await;
        if requester.gone.is_cancelled() {
            return Err(Error::unavailable("the client has left or has been answered"));
        }
        result.map_err(Error::unavailable)?
    }
}

/// Runs jobs until the queue is closed.
fn run_jobs(queue: &Queue<Work>) {
    lower_priority();
    let mut memory = Vec::new();
    while let Some(Job { gone, work, .. }) = queue.pop() {
        if gone.is_cancelled() {
            queue.abandoned.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // A panic drops the sender, so the caller gets an error; the thread continues.
        let _ = catch_unwind(AssertUnwindSafe(|| work(&mut memory)));
    }
}

/// Raises the nice value of the thread (sched(7)), so that it yields to the threads that serve requests: the scheduler
/// lets one of these preempt a much nicer one as soon as it wakes up. Not `SCHED_IDLE`, which yields to every program of
/// the machine: beside a busy backup no login would succeed in time.
fn lower_priority() {
    // On Linux this applies to the thread only; elsewhere it would apply to the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "failed to lower the priority of a hashing thread");
    }
}

/// Returns the same text for all encodings of the same characters: as `OpaqueString` (RFC 8265) with every space as the
/// ASCII one, but in the compatibility form NFKC, since input methods differ in width.
fn normalize(password: &str) -> String {
    let is_space = |char| {
        matches!(char, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
    };
    password.chars().map(|char| if is_space(char) { ' ' } else { char }).nfkc().collect()
}

fn argon2id(
    params: &Params,
    password: &str,
    salt: &[u8],
    out: &mut [u8],
    memory: &mut Vec<Block>,
) -> Result<()> {
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::new());
    }
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), salt, out, &mut memory[..blocks])
        .map_err(|error| Error::internal(error.to_string()))
}

fn hash(params: &Params, password: &str, salt: [u8; 16], memory: &mut Vec<Block>) -> Result<PasswordHash> {
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2id(params, password, &salt, &mut out, memory)?;
    Ok(encode(params, &salt, &out))
}

/// Returns a hash with a random output, of which no password is known.
fn unusable_hash(params: &Params) -> Result<PasswordHash> {
    Ok(encode(params, &random::bytes::<16>()?, &random::bytes::<32>()?))
}

/// Encodes a hash with its parameters and salt as a PHC string.
fn encode(params: &Params, salt: &[u8], out: &[u8]) -> PasswordHash {
    let (memory, passes, parallelism) = (params.m_cost(), params.t_cost(), params.p_cost());
    let (salt, out) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out));
    PasswordHash(format!("$argon2id$v=19$m={memory},t={passes},p={parallelism}${salt}${out}"))
}

fn is_bcrypt(hash: &PasswordHash) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.0.starts_with(prefix))
}

/// Returns parameters, salt and output of an argon2id hash; `None` if it is malformed or of another kind.
fn argon2id_parts(hash: &PasswordHash) -> Option<(Params, Salt, Output)> {
    let phc = Phc::new(&hash.0).ok().filter(|phc| phc.algorithm == Algorithm::Argon2id.ident())?;
    Some((Params::try_from(&phc).ok()?, phc.salt?, phc.hash?))
}

/// Returns whether a comparison with this hash takes its time.
fn is_well_formed(hash: &PasswordHash) -> bool {
    if is_bcrypt(hash) { hash.0.parse::<bcrypt::HashParts>().is_ok() } else { argon2id_parts(hash).is_some() }
}

fn verify(
    current: &Params,
    password: &str,
    against: &PasswordHash,
    memory: &mut Vec<Block>,
) -> Result<PasswordCheck> {
    if is_bcrypt(against) {
        // A malformed hash matches no password.
        let is_valid = bcrypt::verify(password, &against.0).unwrap_or(false);
        return Ok(if is_valid { PasswordCheck::ValidButOutdated } else { PasswordCheck::Invalid });
    }
    let Some((params, salt, hash)) = argon2id_parts(against) else { return Ok(PasswordCheck::Invalid) };
    let mut out = vec![0; hash.as_bytes().len()];
    argon2id(&params, password, salt.as_ref(), &mut out, memory)?;
    let is_valid: bool = out.ct_eq(hash.as_bytes()).into();
    let is_current = (params.m_cost(), params.t_cost(), params.p_cost())
        == (current.m_cost(), current.t_cost(), current.p_cost());
    Ok(match (is_valid, is_current) {
        (true, true) => PasswordCheck::Valid,
        (true, false) => PasswordCheck::ValidButOutdated,
        (false, _) => PasswordCheck::Invalid,
    })
}

#[cfg(test)]
mod tests;

//! Hashing passwords: argon2id (RFC 9106) with the parameters of OWASP's Password Storage Cheat Sheet.
//!
//! A hash takes some 20 ms of a core and 19 MiB. So few run at once, the others wait in a bounded queue, and each
//! thread keeps its memory: the allocator would hold on to a block for every thread that ever hashed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Ident, Output, ParamsString, PasswordHash as Phc, Salt},
};
use domain::{Error, Result, accounts::PasswordHash};
use subtle::ConstantTimeEq as _;
#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::sync::oneshot;

use crate::random;

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl HashCost {
    /// 19 MiB and 2 passes: OWASP's first recommendation.
    pub const OWASP: Self = Self { memory_kib: 19_456, passes: 2 };
    /// As little as argon2 allows. For tests.
    pub const CHEAPEST: Self = Self { memory_kib: 8, passes: 1 };
}

/// Whether a password was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It was.
    Valid,
    /// It was, and its hash should be replaced by one of today's kind.
    ValidButOutdated,
    /// It was not.
    Invalid,
}

/// Hashes and verifies passwords, a few at a time.
#[derive(Clone)]
pub struct PasswordHasher(Arc<Pool>);

struct Pool {
    params: Params,
    queue: mpsc::Sender<Work>,
    waiting: AtomicUsize,
    most_waiting: usize,
    /// What unknown users are verified against, so that they take as long as others.
    dummy: PasswordHash,
}

type Work = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

impl PasswordHasher {
    /// A pool of `threads` hashes at once, with at most `most_waiting` requests in its queue.
    pub fn new(cost: HashCost, threads: usize, most_waiting: usize) -> Result<Self> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None)
            .map_err(|error| Error::internal(error.to_string()))?;
        // Nobody's: no password is known that has it.
        let dummy = written(&params, &random::bytes::<16>()?, &random::bytes::<32>()?)?;
        let (queue, works) = mpsc::channel();
        let works = Arc::new(Mutex::new(works));
        for _ in 0..threads.max(1) {
            let works = works.clone();
            let thread = thread::Builder::new().name("hashes".into());
            thread.spawn(move || work_off(&works)).map_err(Error::internal)?;
        }
        Ok(Self(Arc::new(Pool { params, queue, waiting: AtomicUsize::new(0), most_waiting, dummy })))
    }

    /// Hashes a password with a fresh salt. `Unavailable` if too many wait.
    pub async fn hash(&self, password: String) -> Result<PasswordHash> {
        self.run(move |pool, memory| hash(&pool.params, &password, memory)).await
    }

    /// Compares a password with a hash, argon2's or bcrypt's. Without a hash it works as long and says no.
    pub async fn verify(&self, password: String, against: Option<PasswordHash>) -> Result<PasswordCheck> {
        self.run(move |pool, memory| {
            let verdict = verify(&pool.params, &password, against.as_ref().unwrap_or(&pool.dummy), memory)?;
            Ok(if against.is_some() { verdict } else { PasswordCheck::Invalid })
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pool, &mut Vec<Block>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let pool = self.0.clone();
        let waiting = Waiting::enter(&pool)?;
        let (done, answer) = oneshot::channel();
        let work: Work = Box::new(move |memory| {
            drop(waiting);
            let _ = done.send(work(&pool, memory));
        });
        self.0.queue.send(work).map_err(|_| Error::internal("no thread hashes"))?;
        answer.await.map_err(Error::unavailable)?
    }
}

/// What a thread does until nobody needs it any more.
fn work_off(works: &Mutex<mpsc::Receiver<Work>>) {
    step_back();
    let mut memory = Vec::new();
    loop {
        // Whoever waits here for work holds the lock, and the others wait for that.
        let work = works.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = work else { return };
        // Its panic is its caller's, who gets no answer.
        let _ = catch_unwind(AssertUnwindSafe(|| work(&mut memory)));
    }
}

/// Lets the threads that answer requests go first (`SCHED_IDLE`, sched(7)): a storm of logins must not hold up those who
/// read. Being nicer alone is not enough: such a thread is let go on for some milliseconds once it runs.
fn step_back() {
    #[cfg(target_os = "linux")]
    {
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
            tracing::debug!(?error, "hashes have the priority of all else");
        }
    }
}

/// A place in the queue.
struct Waiting(Arc<Pool>);

impl Waiting {
    fn enter(pool: &Arc<Pool>) -> Result<Self> {
        let place = Self(pool.clone());
        if pool.waiting.fetch_add(1, Ordering::Relaxed) >= pool.most_waiting {
            return Err(Error::overloaded());
        }
        Ok(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
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

fn hash(params: &Params, password: &str, memory: &mut Vec<Block>) -> Result<PasswordHash> {
    let salt: [u8; 16] = random::bytes()?;
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2id(params, password, &salt, &mut out, memory)?;
    written(params, &salt, &out)
}

/// A hash with all that made it, as a string (PHC).
fn written(params: &Params, salt: &[u8], out: &[u8]) -> Result<PasswordHash> {
    let broken = |error: &dyn std::fmt::Display| Error::internal(error.to_string());
    let phc = Phc {
        algorithm: Ident::new("argon2id").map_err(|error| broken(&error))?,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|error| broken(&error))?,
        salt: Some(Salt::new(salt).map_err(|error| broken(&error))?),
        hash: Some(Output::new(out).map_err(|error| broken(&error))?),
    };
    Ok(PasswordHash(phc.to_string()))
}

fn verify(
    today: &Params,
    password: &str,
    against: &PasswordHash,
    memory: &mut Vec<Block>,
) -> Result<PasswordCheck> {
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| against.0.starts_with(prefix)) {
        // A hash that cannot be read fits no password.
        let right = bcrypt::verify(password, &against.0).unwrap_or(false);
        return Ok(if right { PasswordCheck::ValidButOutdated } else { PasswordCheck::Invalid });
    }
    let Ok(phc) = Phc::new(&against.0) else { return Ok(PasswordCheck::Invalid) };
    let (Ok(params), Some(salt), Some(hash)) = (Params::try_from(&phc), phc.salt, phc.hash) else {
        return Ok(PasswordCheck::Invalid);
    };
    if phc.algorithm.as_str() != "argon2id" {
        return Ok(PasswordCheck::Invalid);
    }
    let mut out = vec![0; hash.as_bytes().len()];
    argon2id(&params, password, salt.as_ref(), &mut out, memory)?;
    let right: bool = out.ct_eq(hash.as_bytes()).into();
    let is_todays = (params.m_cost(), params.t_cost(), params.p_cost())
        == (today.m_cost(), today.t_cost(), today.p_cost());
    Ok(match (right, is_todays) {
        (true, true) => PasswordCheck::Valid,
        (true, false) => PasswordCheck::ValidButOutdated,
        (false, _) => PasswordCheck::Invalid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> PasswordHasher {
        PasswordHasher::new(HashCost::CHEAPEST, 2, 100).unwrap()
    }

    #[tokio::test]
    async fn a_hash_fits_its_password_alone() {
        let passwords = cheap();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.0);
        assert_eq!(
            passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap(),
            PasswordCheck::Valid
        );
        assert_eq!(
            passwords.verify("correct hors".into(), Some(hash)).await.unwrap(),
            PasswordCheck::Invalid
        );
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        assert_eq!(cheap().verify("anything".into(), None).await.unwrap(), PasswordCheck::Invalid);
    }

    #[tokio::test]
    async fn hashes_of_older_kinds_are_right_but_old() {
        let passwords = cheap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let old = bcrypt::hash_with_result("secret word", 4).unwrap().format_for_version(version);
            let old = PasswordHash(old);
            assert_eq!(
                passwords.verify("secret word".into(), Some(old.clone())).await.unwrap(),
                PasswordCheck::ValidButOutdated
            );
            assert_eq!(
                passwords.verify("secret wort".into(), Some(old)).await.unwrap(),
                PasswordCheck::Invalid
            );
        }
        let weaker = PasswordHasher::new(HashCost { memory_kib: 16, passes: 1 }, 1, 10).unwrap();
        let hash = weaker.hash("secret word".into()).await.unwrap();
        assert_eq!(
            passwords.verify("secret word".into(), Some(hash)).await.unwrap(),
            PasswordCheck::ValidButOutdated
        );
    }

    #[tokio::test]
    async fn what_is_no_hash_fits_nothing() {
        for broken in
            ["", "plain", "$2b$", "$argon2id$v=19$m=8,t=1,p=1$", "$scrypt$ln=1,r=1,p=1$c2FsdA$aGFzaA"]
        {
            let verdict = cheap().verify("plain".into(), Some(PasswordHash(broken.into()))).await.unwrap();
            assert_eq!(verdict, PasswordCheck::Invalid, "{broken}");
        }
    }

    #[tokio::test]
    async fn who_panics_takes_no_thread_away() {
        let passwords = PasswordHasher::new(HashCost::CHEAPEST, 1, 10).unwrap();
        let broken: Result<()> = passwords.run(|_, _| panic!("it is broken")).await;
        assert_eq!(broken.unwrap_err().code(), "unavailable");
        assert!(passwords.hash("anything".into()).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let passwords = PasswordHasher::new(HashCost::CHEAPEST, 1, 0).unwrap();
        assert_eq!(passwords.hash("anything".into()).await.unwrap_err().code(), "overloaded");
    }
}

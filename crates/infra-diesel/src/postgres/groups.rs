//! Deeds of one kind that come at once share a statement: its start, its way to the database, and its commit.
//!
//! Whoever comes alone goes at once. What comes while a group is on its way makes the next one, so that groups are as
//! large as the database is slow; only if one is held up, by a lock, the next goes beside it. A deed that the database
//! refuses is no error of the others: then none of the group is done, and each is tried by itself.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    slice,
    sync::{Mutex, MutexGuard, PoisonError},
};

use diesel::{
    QueryResult,
    result::{DatabaseErrorKind, Error as DieselError},
};
use diesel_async::AsyncPgConnection;
use domain::Error;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::oneshot,
    task::yield_now,
    time::{Duration, timeout},
};

use super::{
    deeds::{Commenting, Liking, Publishing, Unliking},
    pools::Pools,
};
use crate::error::DbError;

/// How many deeds a group has at most: the first one waits for the last.
const LARGEST: usize = 32;

/// How many deeds of a kind wait at most: while the database does not answer, more would only fill the memory.
const MOST_WAITING: usize = 1024;

/// After how long a group is held up, and how many of a kind are on their way then at most.
const LONG: Duration = Duration::from_millis(20);
const MOST: usize = 2;

/// How often whatever else is to be done comes before a group goes. The first time requests are read that have come
/// meanwhile, the second time their deeds come here.
const TURNS: usize = 2;

/// One of which several can be done by one statement.
pub(crate) trait Deed: Sized + Send + Sync + 'static {
    /// What becomes of it.
    type Done: Send + 'static;

    /// Does all or, if that fails, none of them. What became of each, in their order.
    fn all(
        deeds: &[Self],
        conn: &mut AsyncPgConnection,
    ) -> impl Future<Output = QueryResult<Vec<Self::Done>>> + Send;

    /// Where those of its kind wait.
    fn group(groups: &Groups) -> &Group<Self>;
}

/// One of each kind.
#[derive(Default)]
pub(crate) struct Groups {
    pub(crate) publishing: Group<Publishing>,
    pub(crate) liking: Group<Liking>,
    pub(crate) unliking: Group<Unliking>,
    pub(crate) commenting: Group<Commenting>,
}

impl Groups {
    /// How many deeds wait for those before them.
    pub(crate) fn waiting(&self) -> usize {
        self.publishing.waiting()
            + self.liking.waiting()
            + self.unliking.waiting()
            + self.commenting.waiting()
    }
}

type Answer<D> = Result<<D as Deed>::Done, DbError>;
type Asked<D> = (D, oneshot::Sender<Answer<D>>);

/// Deeds of one kind that wait.
pub(crate) struct Group<D: Deed>(Mutex<State<D>>);

struct State<D: Deed> {
    waiting: VecDeque<Asked<D>>,
    on_their_way: usize,
}

impl<D: Deed> Default for Group<D> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: VecDeque::new(), on_their_way: 0 }))
    }
}

impl<D: Deed> Group<D> {
    fn state(&self) -> MutexGuard<'_, State<D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Lets a deed wait. True if somebody is needed who takes those who wait until there are none.
    fn add(&self, asked: Asked<D>) -> Result<bool, DbError> {
        let mut state = self.state();
        if state.waiting.len() >= MOST_WAITING {
            return Err(Error::overloaded().into());
        }
        state.waiting.push_back(asked);
        let is_needed = state.on_their_way == 0;
        state.on_their_way += usize::from(is_needed);
        Ok(is_needed)
    }

    /// The same where those before are held up.
    fn is_held_up(&self) -> bool {
        let mut state = self.state();
        let is_needed = !state.waiting.is_empty() && state.on_their_way < MOST;
        state.on_their_way += usize::from(is_needed);
        is_needed
    }

    /// The next group; whoever gets none is no longer on the way.
    fn next(&self) -> Option<Vec<Asked<D>>> {
        let mut state = self.state();
        let count = state.waiting.len().min(LARGEST);
        if count == 0 {
            state.on_their_way -= 1;
            return None;
        }
        Some(state.waiting.drain(..count).collect())
    }
}

/// Does a deed, with others of its kind.
pub(crate) async fn perform<D: Deed>(pools: &Pools, deed: D) -> Answer<D> {
    let group = D::group(pools.groups()?);
    let (asker, mut answer) = oneshot::channel();
    if group.add((deed, asker))? {
        begin::<D>(pools);
    }
    let answered = if let Ok(answered) = timeout(LONG, &mut answer).await {
        answered
    } else {
        if group.is_held_up() {
            begin::<D>(pools);
        }
        answer.await
    };
    answered.unwrap_or_else(|_| Err(Error::internal("a deed was lost").into()))
}

/// Takes those who wait until there are none. On its own, since others depend on it, whatever becomes of who began it.
fn begin<D: Deed>(pools: &Pools) {
    let pools = pools.clone();
    tokio::spawn(async move {
        // The same ones, for this stays on the runtime that it began on.
        let Ok(groups) = pools.groups() else { return };
        loop {
            for _ in 0..TURNS {
                yield_now().await;
            }
            let Some(asked) = D::group(groups).next() else { return };
            let (deeds, askers): (Vec<D>, Vec<_>) = asked.into_iter().unzip();
            // After a panic there are no answers, and nobody is kept waiting for one.
            let answers = AssertUnwindSafe(answers(&pools, &deeds)).catch_unwind().await.unwrap_or_default();
            for (asker, answer) in askers.into_iter().zip(answers) {
                // Whoever has gone meanwhile hears nothing.
                let _ = asker.send(answer);
            }
        }
    });
}

/// What becomes of each.
fn answers<'a, D: Deed>(pools: &'a Pools, deeds: &'a [D]) -> BoxFuture<'a, Vec<Answer<D>>> {
    async move {
        let (error, is_refused) = match pools.get().await {
            Ok(mut conn) => match D::all(deeds, &mut conn).await {
                Ok(done) => return done.into_iter().map(Ok).collect(),
                Err(error) => {
                    let is_refused = is_refusal(&error);
                    (DbError::from(error), is_refused)
                }
            },
            Err(error) => (error, false),
        };
        if is_refused && deeds.len() > 1 {
            let mut one_by_one = Vec::with_capacity(deeds.len());
            for deed in deeds {
                one_by_one.extend(answers(pools, slice::from_ref(deed)).await);
            }
            return one_by_one;
        }
        deeds.iter().map(|_| Err(error.again())).collect()
    }
    .boxed()
}

/// Whether it is certain that nothing was done, because of what was to be done.
fn is_refusal(error: &DieselError) -> bool {
    use DatabaseErrorKind::{CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation};
    let DieselError::DatabaseError(kind, _) = error else { return false };
    matches!(kind, CheckViolation | ForeignKeyViolation | NotNullViolation | UniqueViolation)
}

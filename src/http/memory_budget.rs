//! A memory budget that requests share: one for bodies, one for responses.
//!
//! A request takes permits for its bytes and returns them by dropping the permit. When the budget is exhausted, the holders with the
//! highest cost are evicted first, if they cost more than the requester: so greedy and slow requests make room for each other, and
//! nobody has to wait for them.
//!
//! **Invariant:** all permits together are for no more bytes than the budget has.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

/// How often a waiting request looks for others to evict.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Holds memory for a while, and is evicted by being dropped.
pub(super) trait Holder: Send + 'static {
    /// Whether the cost may rise with time alone: then waiting may pay.
    const AGES: bool;

    /// Bytes that an eviction frees.
    fn bytes(&self) -> usize;

    /// The cost to others.
    fn cost(&self) -> usize;
}

/// The budget.
#[derive(Debug)]
pub(super) struct MemoryBudget<H>(Arc<Shared<H>>);

#[derive(Debug)]
struct Shared<H> {
    /// One permit per byte.
    room: Arc<Semaphore>,
    bytes: usize,
    holders: Mutex<Holders<H>>,
}

#[derive(Debug)]
struct Holders<H> {
    by_number: HashMap<u64, H>,
    next: u64,
}

impl<H: Holder> MemoryBudget<H> {
    /// A budget of this many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
            holders: Mutex::new(Holders {
                by_number: HashMap::new(),
                next: 0,
            }),
        }))
    }

    /// Takes this many bytes, or the whole budget for more than that; `None` if they are not free by `until`. Evicts holders with a
    /// higher cost than `cost`.
    pub(super) async fn take(
        &self,
        bytes: usize,
        cost: usize,
        until: Instant,
    ) -> Option<OwnedSemaphorePermit> {
        let room = &self.0.room;
        let wanted = u32::try_from(bytes.min(self.0.bytes)).unwrap_or(u32::MAX);
        if let Ok(taken) = Arc::clone(room).try_acquire_many_owned(wanted) {
            return Some(taken);
        }
        let evicting = async {
            loop {
                let is_coming = self.evict(wanted as usize, cost);
                match H::AGES {
                    true => sleep(LOOK_AGAIN).await,
                    // A cost that does not age is as high now as it will be: looking again, before the evicted have freed their
                    // memory, would evict others for nothing.
                    false if is_coming => pending().await,
                    false => break,
                }
            }
        };
        tokio::select! {
            taken = Arc::clone(room).acquire_many_owned(wanted) => taken.ok(),
            () = evicting => None,
            () = sleep_until(until) => None,
        }
    }

    /// Evicts the most expensive holders until this many bytes are freed; returns whether holders above `cost` have as many.
    fn evict(&self, wanted: usize, cost: usize) -> bool {
        let mut holders = self.0.holders();
        let mut free = self.0.room.available_permits();
        while free < wanted {
            let costs = holders.by_number.iter().map(|(at, it)| (it.cost(), *at));
            let Some((_, costliest)) = costs.filter(|(its, _)| *its > cost).max() else {
                return false;
            };
            let evicted = holders.by_number.remove(&costliest);
            free += evicted.map_or(0, |holder| holder.bytes());
        }
        true
    }

    /// Makes a holder evictable.
    pub(super) fn register(&self, holder: H) -> Registration<H> {
        let mut holders = self.0.holders();
        let number = holders.next;
        holders.next += 1;
        holders.by_number.insert(number, holder);
        let shared = Arc::clone(&self.0);
        Registration { shared, number }
    }
}

impl<H> Shared<H> {
    fn holders(&self) -> MutexGuard<'_, Holders<H>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registration of a holder, until this is dropped.
#[derive(Debug)]
pub(super) struct Registration<H> {
    shared: Arc<Shared<H>>,
    number: u64,
}

impl<H> Registration<H> {
    /// Changes the holder; `None` if it was evicted.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut H) -> R) -> Option<R> {
        let mut holders = self.shared.holders();
        holders.by_number.get_mut(&self.number).map(change)
    }
}

impl<H> Drop for Registration<H> {
    fn drop(&mut self) {
        self.shared.holders().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds what it took.
    struct Fixed(OwnedSemaphorePermit, usize);

    impl Holder for Fixed {
        const AGES: bool = false;

        fn bytes(&self) -> usize {
            self.0.num_permits()
        }

        fn cost(&self) -> usize {
            self.1
        }
    }

    async fn hold(budget: &MemoryBudget<Fixed>, bytes: usize, cost: usize) -> Registration<Fixed> {
        let room = budget.take(bytes, 0, Instant::now()).await.expect("room");
        budget.register(Fixed(room, cost))
    }

    #[tokio::test]
    async fn the_costliest_make_room_and_only_for_who_costs_less() {
        let budget = MemoryBudget::new(100);
        let soon = Instant::now() + Duration::from_secs(1);
        let small = hold(&budget, 40, 10).await;
        let large = hold(&budget, 30, 20).await;
        let larger = hold(&budget, 30, 30).await;
        assert!(budget.take(10, 30, soon).await.is_none(), "costs as much");
        let taken = budget.take(20, 29, soon).await.expect("room");
        let is_held = |it: &Registration<Fixed>| it.with(|_| ()).is_some();
        assert!(is_held(&small) && is_held(&large) && !is_held(&larger));
        assert!(
            budget.take(60, 10, soon).await.is_none(),
            "too few cost more"
        );
        assert!(is_held(&small) && !is_held(&large));
        drop((taken, small));
        let all = budget.take(1_000, 0, soon).await.expect("all there is");
        assert_eq!(all.num_permits(), 100);
    }

    /// Its memory is free a moment after it was evicted, as that of a body whose task has to notice first.
    struct Late(Option<OwnedSemaphorePermit>);

    impl Holder for Late {
        const AGES: bool = false;

        fn bytes(&self) -> usize {
            self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
        }

        fn cost(&self) -> usize {
            self.bytes()
        }
    }

    impl Drop for Late {
        fn drop(&mut self) {
            let room = self.0.take();
            tokio::spawn(async move {
                sleep(4 * LOOK_AGAIN).await;
                drop(room);
            });
        }
    }

    #[tokio::test]
    async fn no_more_are_evicted_than_it_takes_however_late_their_memory_is_free() {
        let budget = MemoryBudget::new(100);
        let mut held = Vec::new();
        for _ in 0..4 {
            let room = budget.take(25, 0, Instant::now()).await.expect("room");
            held.push(budget.register(Late(Some(room))));
        }
        let until = Instant::now() + Duration::from_secs(60);
        let taken = budget.take(25, 0, until).await;
        assert!(taken.is_some());
        let left = held.iter().filter(|it| it.with(|_| ()).is_some()).count();
        assert_eq!(left, 3);
    }

    #[tokio::test]
    async fn what_is_given_back_in_time_is_taken_and_nobody_waits_for_longer() {
        let budget = MemoryBudget::<Fixed>::new(10);
        let held = hold(&budget, 10, 5).await;
        held.with(|it| it.1 = 7);
        assert!(budget.take(1, 6, Instant::now()).await.is_some());
        assert!(held.with(|it| it.1).is_none());
    }
}

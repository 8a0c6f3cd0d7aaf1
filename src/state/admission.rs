//! Requests in flight: how many there may be, and a fair part of them for every client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts requests in flight, in all and by client. Each client has a limit of its own. While less than half of the
/// places are taken, everybody may have more up to that; from then on, a client may hold no more than its equal part,
/// where one part is always left for whoever comes next. So one gateway's storm cannot starve the others.
pub struct Admission {
    limit: usize,
    total: AtomicUsize,
    active: AtomicUsize,
    clients: Box<[AtomicUsize]>,
}

/// A place that a request holds while it is judged; given back when dropped.
pub struct Place {
    admission: Arc<Admission>,
    client: u16,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The client has its part.
    Share,
    /// Nobody gets more.
    Full,
}

impl Admission {
    /// `limit` places for `clients` clients.
    pub fn new(clients: usize, limit: usize) -> Admission {
        Admission {
            limit,
            total: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            clients: (0..clients.max(1)).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Takes a place for a request of `client`, which may hold `most`.
    ///
    /// # Errors
    /// Says whether the client or everybody has had enough.
    pub fn enter(self: &Arc<Admission>, client: u16, most: usize) -> Result<Place, Refused> {
        let Some(own) = self.clients.get(usize::from(client)) else { return Err(Refused::Share) };
        let before = own.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.active.fetch_add(1, Ordering::Relaxed);
        }
        let total = self.total.fetch_add(1, Ordering::Relaxed);
        // From here on the place is given back by dropping it.
        let place = Place { admission: Arc::clone(self), client };
        if total >= self.limit {
            return Err(Refused::Full);
        }
        let part = self.limit / self.active.load(Ordering::Relaxed).saturating_add(1);
        if before >= most || (total >= self.limit / 2 && before >= part) {
            return Err(Refused::Share);
        }
        Ok(place)
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(own) = self.admission.clients.get(usize::from(self.client))
            && own.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.admission.active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1000;

    fn enter_often(admission: &Arc<Admission>, client: u16, most: usize) -> Vec<Place> {
        (0..1000).filter_map(|_| admission.enter(client, most).ok()).collect()
    }

    #[test]
    fn sec_14_a_storm_leaves_room_for_whoever_comes_next() {
        let admission = Arc::new(Admission::new(3, 120));
        let storm = enter_often(&admission, 0, MOST);
        assert_eq!(storm.len(), 60);
        assert_eq!(admission.enter(0, MOST).err(), Some(Refused::Share));
        let second = enter_often(&admission, 1, MOST);
        assert_eq!(second.len(), 40);
        let third = enter_often(&admission, 2, MOST);
        assert_eq!(third.len(), 20);
        assert_eq!(admission.enter(2, MOST).err(), Some(Refused::Full));
        drop((storm, second, third));
        assert_eq!(admission.in_flight(), 0);
        assert_eq!(enter_often(&admission, 0, MOST).len(), 60);
        assert_eq!(admission.in_flight(), 0);
    }

    #[test]
    fn sec_14_a_client_has_a_limit_of_its_own() {
        let admission = Arc::new(Admission::new(2, 100));
        let few = enter_often(&admission, 0, 7);
        assert_eq!(few.len(), 7);
        assert_eq!(admission.enter(0, 7).err(), Some(Refused::Share));
        assert!(admission.enter(1, 7).is_ok());
    }
}

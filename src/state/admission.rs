//! Requests in flight: how many there may be, and a fair part of them for every client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts requests in flight, in all and by client. While less than half of the places are taken, everybody may have
/// more; from then on, a client may hold no more than its equal part. So one gateway's storm cannot starve the others.
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

    /// Takes a place for a request of `client`.
    ///
    /// # Errors
    /// Says whether the client or everybody has had enough.
    pub fn enter(self: &Arc<Admission>, client: u16) -> Result<Place, Refused> {
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
        let part = self.limit / self.active.load(Ordering::Relaxed).max(1);
        if total >= self.limit / 2 && before >= part {
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

    #[test]
    fn sec_14_a_storm_leaves_room_for_the_others() {
        let admission = Arc::new(Admission::new(2, 100));
        let quiet = admission.enter(1).ok().unwrap();
        let storm: Vec<Place> = (0..1000).filter_map(|_| admission.enter(0).ok()).collect();
        assert_eq!(storm.len(), 50);
        assert_eq!(admission.enter(0).err(), Some(Refused::Share));
        let others: Vec<Place> = (0..40).filter_map(|_| admission.enter(1).ok()).collect();
        assert_eq!(others.len(), 40);
        drop((storm, others, quiet));
        assert_eq!(admission.in_flight(), 0);
        assert_eq!((0..1000).map_while(|_| admission.enter(0).ok()).collect::<Vec<_>>().len(), 100);
        assert_eq!(admission.in_flight(), 0);
    }
}

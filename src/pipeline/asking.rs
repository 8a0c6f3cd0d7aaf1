//! A question begins on the thread that has it; the runtime carries it on when something has come for it.
//!
//! As a task from the beginning each would wake a thread of the runtime twice: to find that there is nothing to do yet,
//! and when the answer has come.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use tokio::runtime::Handle;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work that waits for its first wake-up.
struct Asking {
    runtime: Handle,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    /// What waits; not yet while it is being begun, and not any more once the runtime has it.
    work: Option<Work>,
    /// Something has come for it.
    woken: bool,
}

/// Runs `work` here until it has to wait, and on `runtime` from the moment when it need not wait any more.
pub fn begin(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    let _inside = runtime.enter();
    let asking = Arc::new(Asking { runtime: runtime.clone(), waits: Mutex::default() });
    let waker = Waker::from(Arc::clone(&asking));
    let mut work: Work = Box::pin(work);
    if let Poll::Ready(()) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
        return;
    }
    let mut waits = asking.waits();
    if !waits.woken {
        waits.work = Some(work);
        return;
    }
    drop(waits);
    runtime.spawn(work);
}

impl Asking {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        // Nothing under the lock panics half-way.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Asking {
    fn wake(self: Arc<Asking>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Asking>) {
        let mut waits = self.waits();
        waits.woken = true;
        let work = waits.work.take();
        drop(waits);
        if let Some(work) = work {
            self.runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;
    use tokio::sync::oneshot;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// Where each part of a piece of work ran that waits for `first` and then for `then`.
    fn parts(
        runtime: &Handle,
        first: impl Future<Output = ()> + Send + 'static,
        then: impl Future<Output = ()> + Send + 'static,
    ) -> mpsc::Receiver<ThreadId> {
        let (told, ran) = mpsc::channel();
        begin(runtime, async move {
            told.send(thread::current().id()).unwrap();
            first.await;
            told.send(thread::current().id()).unwrap();
            then.await;
            told.send(thread::current().id()).unwrap();
        });
        ran
    }

    #[test]
    fn what_need_not_wait_ends_where_it_began() {
        let runtime = runtime();
        let ran = parts(runtime.handle(), async {}, async {});
        assert_eq!(ran.iter().collect::<Vec<_>>(), [thread::current().id(); 3]);
    }

    #[test]
    fn what_waits_is_carried_on_by_the_runtime() {
        let runtime = runtime();
        let (answer, answered) = oneshot::channel::<()>();
        let sleep = async { tokio::time::sleep(Duration::from_millis(1)).await };
        let ran = parts(runtime.handle(), async { answered.await.unwrap() }, sleep);
        assert_eq!(ran.recv(), Ok(thread::current().id()));
        assert_eq!(ran.try_recv(), Err(mpsc::TryRecvError::Empty));
        answer.send(()).unwrap();
        let edge = ran.recv().unwrap();
        assert_ne!(edge, thread::current().id());
        assert_eq!(ran.recv(), Ok(edge));
        assert!(ran.recv().is_err(), "it ends once");
    }

    #[test]
    fn what_comes_while_it_begins_is_not_missed() {
        let runtime = runtime();
        // Wakes itself before it says that it waits, and gives way to the others once more.
        let ran = parts(runtime.handle(), tokio::task::yield_now(), tokio::task::yield_now());
        assert_eq!(ran.iter().count(), 3);
    }

    #[test]
    fn what_still_waits_when_the_runtime_ends_is_dropped() {
        let runtime = runtime();
        let sleep = async { tokio::time::sleep(Duration::from_secs(3600)).await };
        let ran = parts(runtime.handle(), sleep, async {});
        drop(runtime);
        assert_eq!(ran.iter().count(), 1);
    }
}

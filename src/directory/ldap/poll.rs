//! Reads everything again and again (RFC 2696): for servers that cannot be followed.

use super::connection::{Trouble, within};
use super::event::{Event, Operation};
use super::filter::Filter;
use super::link::{Link, jittered, worth_asking};
use super::message::{Control, Criticality, PAGED_RESULTS, SUCCESS, Scope, Search, page, page_cookie};
use super::schema::{Unknown, unknown};
use super::shared::Shared;
use super::table::{Changes, Content, Shrunk, Table};
use crate::clock::now;
use std::sync::Arc;
use std::time::Duration;

/// How many entries are asked for at once: what Active Directory gives at most.
const PAGE: u32 = 1000;
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(800);

/// Reads for ever.
pub async fn poll(shared: Arc<Shared>, every: Duration) {
    let mut table = shared.table();
    loop {
        let Some(link) = worth_asking(&shared.links).first().map(|&link| Arc::clone(link)) else {
            tokio::time::sleep(jittered(PAUSE)).await;
            continue;
        };
        let begun = now().mono;
        let read = read(&shared, &link, &table).await;
        link.ended(Operation::Load, begun, &read);
        let changes = match read {
            Ok(changes) => changes,
            Err(trouble) => {
                (shared.events)(Event::SyncBroken { server: Arc::clone(&link.url), trouble });
                tokio::time::sleep(jittered(PAUSE)).await;
                continue;
            }
        };
        let check = changes.iter().try_for_each(|(content, changes)| table.check(*content, changes));
        if let Err(Shrunk { before, after }) = check
            && !shared.take_permission()
        {
            (shared.events)(Event::HeldBack { before, after });
            shared.wait_for_permission().await;
            continue;
        }
        table.apply(changes).await;
        table.look_at_keys().await;
        table.loaded(begun);
        tokio::time::sleep(every).await;
    }
}

/// Reads both contents; anything less than everything is trouble (LDAP-16).
async fn read(shared: &Shared, link: &Link, table: &Table) -> Result<[(Content, Changes); 2], Trouble> {
    let asking = unknown(link.connect().await?, &shared.reading, shared.settings.timeout);
    let unknown = asking.await.unwrap_or_default();
    let mut connection = link.connect().await?;
    let (mut whole, mut count) = (Vec::new(), 0);
    for (content, filter) in
        [(Content::Users, &shared.reading.users), (Content::Others, &shared.reading.others)]
    {
        let mut changes = Changes::default();
        let mut cookie = Vec::new();
        loop {
            let paged = Control {
                oid: PAGED_RESULTS,
                criticality: Criticality::Critical,
                value: Some(page(PAGE, &cookie)),
            };
            let asking =
                one_page(shared, &mut connection, (filter, &unknown), paged, (&mut changes, &mut count));
            cookie = within(shared.settings.timeout.saturating_mul(5), asking).await?;
            if cookie.is_empty() {
                break;
            }
        }
        changes.settle(table.ids(content));
        whole.push((content, changes));
    }
    connection.close().await;
    <[(Content, Changes); 2]>::try_from(whole).map_err(|_| Trouble::TooMany)
}

async fn one_page(
    shared: &Shared,
    connection: &mut super::connection::Connection,
    (filter, unknown): (&Filter, &Unknown),
    paged: Control,
    (changes, count): (&mut Changes, &mut u64),
) -> Result<Vec<u8>, Trouble> {
    let attributes = unknown.without(&shared.reading.attributes);
    let search = Search {
        base: &shared.settings.base,
        scope: Scope::Subtree,
        filter: filter.octets(),
        attributes: &attributes,
        size_limit: 0,
        time_limit: 0,
        controls: &[paged],
    };
    let end = connection
        .search(&search, |raw| {
            *count += 1;
            shared.bindings.reading(*count);
            if let Some(entry) = shared.reading.entry(&shared.settings, raw)
                && let Some(row) = shared.pack(raw)
            {
                changes.put.put(entry.id, row);
            }
            Ok(())
        })
        .await?;
    if end.references > 0 {
        return Err(Trouble::Referral);
    }
    if end.code != SUCCESS {
        return Err(Trouble::Search(end.code, end.text));
    }
    // A server that answers without the control, although it was critical, has broken the sequence.
    let page = end.page.ok_or(super::ber::Malformed)?;
    Ok(page_cookie(&page)?.to_vec())
}

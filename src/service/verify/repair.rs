//! Repairs derived data. A message is never invented, removed or changed.

use super::check::RepairAction;
use crate::Service;
use guestbook_core::GuestId;
use guestbook_core::error::Result;
use guestbook_storage::database::Repair;
use std::collections::BTreeMap;

/// Rows repaired per transaction.
const PAGE: usize = 500;

/// Applies the repairs; returns a sentence for each kind that was applied.
pub(super) async fn apply(service: &Service, fixes: Vec<RepairAction>) -> Result<Vec<String>> {
    let (mut rows, mut mappings, mut lists, mut vectors) =
        (Vec::new(), Vec::new(), Vec::<GuestId>::new(), false);
    for fix in fixes {
        match fix {
            RepairAction::Row(repair @ Repair::Mapping { .. }) => mappings.push(repair),
            RepairAction::Row(repair) => rows.push(repair),
            RepairAction::List(guest) => lists.push(guest),
            RepairAction::Vectors => vectors = true,
        }
    }
    let mut done = Vec::new();
    // Rows first: a list is rebuilt from the window in its row. Mappings last: they state what the lists then have.
    repair_rows(service, rows, &mut done).await?;
    if !lists.is_empty() {
        let count = lists.len();
        for guest in lists {
            // Removed first, because a list with the right length and wrong contents looks current.
            service.parts().lists.remove(vec![guest.clone()]).await?;
            service.reconcile(&guest).await?;
        }
        service.parts().lists.flush().await?;
        done.push(format!("rebuilt or removed {count} lists"));
    }
    repair_rows(service, mappings, &mut done).await?;
    if vectors {
        let embedded = service.reembed(|_| ()).await;
        done.push(match embedded {
            Ok(state) => format!(
                "computed {} missing vectors, {} failed",
                state.done - state.failed,
                state.failed
            ),
            Err(cause) => format!("could not compute missing vectors: {cause}"),
        });
    }
    for what in &done {
        tracing::warn!(step = "verify", what, "repaired");
    }
    Ok(done)
}

async fn repair_rows(service: &Service, rows: Vec<Repair>, done: &mut Vec<String>) -> Result<()> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for repair in &rows {
        *counts.entry(what(repair)).or_default() += 1;
    }
    done.extend(
        counts
            .into_iter()
            .map(|(what, count)| format!("corrected {count} {what}")),
    );
    let mut rows = rows.into_iter();
    loop {
        let page: Vec<_> = rows.by_ref().take(PAGE).collect();
        if page.is_empty() {
            return Ok(());
        }
        service
            .stores()
            .audit
            .repair(page, service.parts().clock.now())
            .await?;
    }
}

fn what(repair: &Repair) -> &'static str {
    match repair {
        Repair::Counters { .. } => "counters of conversations",
        Repair::Window { .. } => "list windows of conversations",
        Repair::Usage(_) => "usage rows",
        Repair::Mapping { .. } => "mappings",
        Repair::Orphan(_) => "rows that belonged to nothing or could not be used",
        Repair::Metrics => "hourly metrics",
    }
}
